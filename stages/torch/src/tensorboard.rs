//! TensorBoard's event files: scalars and texts as protocol buffers in TFRecord frames. Written by hand, as it is two dozen bytes of format.

/// The first record of every file.
pub fn header(seconds: f64) -> Vec<u8> {
    let mut event = Vec::new();
    fixed64(&mut event, 1, seconds.to_bits());
    bytes(&mut event, 3, b"brain.Event:2");
    record(&event)
}

/// A record with one scalar.
pub fn scalar(seconds: f64, step: u64, tag: &str, value: f64) -> Vec<u8> {
    let mut entry = Vec::new();
    bytes(&mut entry, 1, tag.as_bytes());
    varint(&mut entry, (2 << 3) | 5);
    entry.extend((value as f32).to_le_bytes());
    summary(seconds, step, &entry)
}

/// A record with one text, as PyTorch's `add_text` writes it: a tensor of one string, for the plugin `text`.
pub fn text(seconds: f64, step: u64, tag: &str, text: &str) -> Vec<u8> {
    const STRINGS_OF_LENGTH_1: [u8; 8] = [0x08, 7, 0x12, 4, 0x12, 2, 0x08, 1];
    const PLUGIN: [u8; 8] = [0x0a, 6, 0x0a, 4, b't', b'e', b'x', b't'];
    let (mut entry, mut tensor) = (Vec::new(), STRINGS_OF_LENGTH_1.to_vec());
    bytes(&mut tensor, 8, text.as_bytes());
    bytes(&mut entry, 1, tag.as_bytes());
    bytes(&mut entry, 8, &tensor);
    bytes(&mut entry, 9, &PLUGIN);
    summary(seconds, step, &entry)
}

/// A record with one entry.
fn summary(seconds: f64, step: u64, entry: &[u8]) -> Vec<u8> {
    let (mut summary, mut event) = (Vec::new(), Vec::new());
    bytes(&mut summary, 1, entry);
    fixed64(&mut event, 1, seconds.to_bits());
    varint(&mut event, 2 << 3);
    varint(&mut event, step);
    bytes(&mut event, 5, &summary);
    record(&event)
}

/// TFRecord: length, masked CRC of the length, data, masked CRC of the data.
fn record(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    let masked = |data: &[u8]| crc32c::crc32c(data).rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes();
    [&length[..], &masked(&length), data, &masked(data)].concat()
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn fixed64(out: &mut Vec<u8>, field: u64, value: u64) {
    varint(out, (field << 3) | 1);
    out.extend(value.to_le_bytes());
}

fn bytes(out: &mut Vec<u8>, field: u64, value: &[u8]) {
    varint(out, (field << 3) | 2);
    varint(out, value.len() as u64);
    out.extend(value);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scalar_has_the_bytes_that_tensorboard_writes() {
        // From tensorboard.compat.proto: Event(wall_time=1.5, step=300, summary=Summary(value=[Value(tag="loss", simple_value=0.25)])).
        let event = [
            0x09, 0, 0, 0, 0, 0, 0, 0xf8, 0x3f, 0x10, 0xac, 0x02, 0x2a, 0x0d, 0x0a, 0x0b, 0x0a, 0x04, b'l', b'o', b's', b's', 0x15, 0, 0,
            0x80, 0x3e,
        ];
        let found = scalar(1.5, 300, "loss", 0.25);
        assert_eq!(found[12..12 + event.len()], event);
        assert_eq!(found[..8], (event.len() as u64).to_le_bytes());
        assert_eq!(found.len(), 12 + event.len() + 4);
    }

    #[test]
    fn a_text_has_the_bytes_that_tensorboard_writes() {
        // Event(wall_time=1.5, step=300, summary=Summary(value=[Summary.Value(tag="g", tensor=TensorProto(dtype="DT_STRING", string_val=["ab"],
        // tensor_shape=(1)), metadata=SummaryMetadata(plugin_data=PluginData(plugin_name="text")))])).
        let event = b"\t\0\0\0\0\0\0\xf8?\x10\xac\x02*\x1d\n\x1b\n\x01gB\x0c\x08\x07\x12\x04\x12\x02\x08\x01B\x02abJ\x08\n\x06\n\x04text";
        assert_eq!(text(1.5, 300, "g", "ab")[12..12 + event.len()], event[..]);
    }
}
