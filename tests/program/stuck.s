# ends: waits for an interrupt that cannot come
main:   wait
        jr $ra
