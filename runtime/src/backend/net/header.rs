//! The header that goes before a frame wherever work on it is left to the other side (Linux,
//! include/uapi/linux/virtio_net.h, `virtio_net_hdr_v1`): virtio network cards and the host's tap
//! devices have the same. It must not know either.

use super::{Frame, Segment, SegmentKind};

/// Its length in bytes.
pub const HEADER_LENGTH: usize = 12;

/// `VIRTIO_NET_HDR_F_NEEDS_CSUM`: the sum is still to be made.
const NEEDS_CHECKSUM: u8 = 1 << 0;
/// `VIRTIO_NET_HDR_GSO_TCPV4` and `VIRTIO_NET_HDR_GSO_TCPV6`.
const SEGMENTS_TCP4: u8 = 1;
const SEGMENTS_TCP6: u8 = 4;
/// `VIRTIO_NET_HDR_GSO_ECN`: congestion was notified, which no side here treats differently.
const SEGMENTS_ECN: u8 = 0x80;

/// The header of `frame`, which is spread over `buffers` buffers.
pub fn encode(frame: &Frame, buffers: u16) -> [u8; HEADER_LENGTH] {
    let mut header = [0; HEADER_LENGTH];
    let mut set = |at: usize, value: u16| header[at..at + 2].copy_from_slice(&value.to_le_bytes());
    set(10, buffers);
    let Some((start, offset)) = frame.checksum else { return header };
    set(6, start);
    set(8, offset);
    let mut kind = 0;
    if let Some(segment) = frame.segment {
        // Where the header of TCP ends, by its own length.
        let length = frame.bytes.get(usize::from(start) + 12).map_or(20, |byte| u16::from(byte >> 4) * 4);
        set(2, start.saturating_add(length));
        set(4, segment.size);
        kind = match segment.kind {
            SegmentKind::Tcp4 => SEGMENTS_TCP4,
            SegmentKind::Tcp6 => SEGMENTS_TCP6,
        };
    }
    header[0] = NEEDS_CHECKSUM;
    header[1] = kind;
    header
}

/// Notes in `frame` what its header says; `None` if that makes no sense for its bytes. Nothing of it is
/// believed: a checksum lies within the frame, and only what needs one can be cut into segments.
pub fn decode(header: [u8; HEADER_LENGTH], frame: &mut Frame) -> Option<()> {
    let half = |at: usize| u16::from_le_bytes([header[at], header[at + 1]]);
    (frame.checksum, frame.segment) = (None, None);
    if header[0] & NEEDS_CHECKSUM != 0 {
        let (start, offset) = (half(6), half(8));
        let end = usize::from(start) + usize::from(offset) + 2;
        frame.checksum = (end <= frame.bytes.len()).then_some((start, offset));
        frame.checksum?;
    }
    let kind = match header[1] & !SEGMENTS_ECN {
        0 => return Some(()),
        SEGMENTS_TCP4 => SegmentKind::Tcp4,
        SEGMENTS_TCP6 => SegmentKind::Tcp6,
        _ => return None,
    };
    let size = half(4);
    frame.segment = (frame.checksum.is_some() && size > 0).then_some(Segment { kind, size });
    frame.segment.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_as_they_are_written() {
        let mut frame = Frame { bytes: vec![0; 3000], checksum: Some((34, 16)), segment: None };
        frame.bytes[46] = 0x80;
        assert_eq!(encode(&frame, 1), [1, 0, 0, 0, 0, 0, 34, 0, 16, 0, 1, 0]);
        frame.segment = Some(Segment { kind: SegmentKind::Tcp4, size: 1448 });
        let header = encode(&frame, 2);
        assert_eq!(header, [1, 1, 66, 0, 0xa8, 5, 34, 0, 16, 0, 2, 0]);
        let mut read = Frame { bytes: frame.bytes.clone(), ..Frame::default() };
        assert_eq!(decode(header, &mut read), Some(()));
        assert_eq!(read, frame);
        assert_eq!(decode([0; HEADER_LENGTH], &mut read), Some(()));
        assert_eq!((read.checksum, read.segment), (None, None));
    }

    #[test]
    fn headers_that_make_no_sense_are_refused() {
        let mut frame = Frame { bytes: vec![0; 60], ..Frame::default() };
        let bad = [
            // A sum behind the end, segments without one, of no size, and of a kind that was not offered.
            [1, 0, 0, 0, 0, 0, 34, 0, 25, 0, 1, 0],
            [1, 0, 0, 0, 0, 0, 255, 255, 255, 255, 1, 0],
            [0, 1, 54, 0, 0, 5, 0, 0, 0, 0, 1, 0],
            [1, 1, 54, 0, 0, 0, 34, 0, 16, 0, 1, 0],
            [1, 3, 54, 0, 0, 5, 34, 0, 6, 0, 1, 0],
        ];
        for header in bad {
            assert_eq!(decode(header, &mut frame), None, "{header:?}");
        }
    }
}
