//! The records of an append-only log: one line each, with its stamp, a filler and a checksum.

use crate::document::{Defect, Stamp, TornKind, excerpt, take_number};

/// The shortest record that its fields fit in, in bytes, the newline included.
pub const MIN_RECORD: u32 = 48;

/// One record of `size` bytes: `r-3-17 filler… crc32` and a newline.
///
/// # Panics
/// If `size` is below [`MIN_RECORD`].
pub fn render_record(stamp: Stamp, size: u32) -> Vec<u8> {
    assert!(size >= MIN_RECORD, "a record of {size} bytes is impossible");
    let mut line = format!("r-{}-{} ", stamp.client, stamp.sequence).into_bytes();
    let token = format!("c{}s{} ", stamp.client, stamp.sequence).into_bytes();
    let end = size as usize - 10;
    while line.len() + token.len() <= end {
        line.extend_from_slice(&token);
    }
    line.resize(end, b'.');
    line.push(b' ');
    let checksum = crc32fast::hash(&line);
    line.extend_from_slice(format!("{checksum:08x}\n").as_bytes());
    line
}

/// The stamp of a whole record without its newline; `None` if it is damaged.
pub fn verify_record(line: &[u8]) -> Option<Stamp> {
    let body = line.len().checked_sub(8)?;
    let checksum = u32::from_str_radix(std::str::from_utf8(&line[body..]).ok()?, 16).ok()?;
    if crc32fast::hash(&line[..body]) != checksum {
        return None;
    }
    let (client, rest) = take_number(line.strip_prefix(b"r-")?)?;
    let (sequence, _) = take_number(rest.strip_prefix(b"-")?)?;
    Some(Stamp::new(client, sequence))
}

/// The records that a read saw, or the first damage in them.
pub fn verify_log(bytes: &[u8]) -> Result<Vec<Stamp>, Defect> {
    let mut records = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let Some(end) = rest.iter().position(|&byte| byte == b'\n') else {
            return Err(Defect::new(
                TornKind::Partial,
                format!("the last record lacks its end: {}", excerpt(rest)),
            ));
        };
        let line = &rest[..end];
        records.push(verify_record(line).ok_or_else(|| {
            Defect::new(TornKind::Mixed, format!("record {} is damaged: {}", records.len(), excerpt(line)))
        })?);
        rest = &rest[end + 1..];
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_read_back_and_a_cut_or_interleaved_one_does_not() {
        let (first, second) = (render_record(Stamp::new(1, 1), 100), render_record(Stamp::new(2, 1), 64));
        let both = [first.clone(), second.clone()].concat();
        assert_eq!(verify_log(&both), Ok(vec![Stamp::new(1, 1), Stamp::new(2, 1)]));
        assert_eq!(verify_log(&both[..120]).unwrap_err().kind, TornKind::Partial);
        let interleaved = [&first[..50], &second, &first[50..]].concat();
        assert_eq!(verify_log(&interleaved).unwrap_err().kind, TornKind::Mixed);
    }
}
