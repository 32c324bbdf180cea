# A serial line tells nothing of the terminal's size: `resize` asks the terminal itself, which reports where its
# far corner is.
case $(stty size 2> /dev/null) in
    '' | '0 0') stty rows 24 cols 80 2> /dev/null ;;
esac
resize() {
    local saved rows columns
    saved=$(stty -g)
    stty -icanon -echo min 0 time 10
    printf '\033[s\033[999;999H\033[6n\033[u'
    IFS='[;' read -r -d R _ rows columns
    stty "$saved"
    [ -z "$columns" ] || stty rows "$rows" cols "$columns"
}
