//! Bytes, as people read and write them.

const UNITS: [(char, u32); 4] = [('T', 40), ('G', 30), ('M', 20), ('K', 10)];

/// A number of bytes, or of kibibytes and so on with K, M, G or T behind it.
pub(super) fn parse(text: &str) -> Result<u64, String> {
    let unit = UNITS.into_iter().find(|(unit, _)| text.to_ascii_uppercase().ends_with(*unit));
    let (number, shift) = match unit {
        Some((_, shift)) => (&text[..text.len() - 1], shift),
        None => (text, 0),
    };
    let number: Option<u64> = number.parse().ok();
    let bytes = number.and_then(|number| number.checked_mul(1 << shift));
    bytes.ok_or_else(|| "it is no number of bytes, such as 1048576, 512M or 10G".to_owned())
}

/// In the largest unit of which there is at least one.
pub(super) fn shown(bytes: u64) -> String {
    let unit = UNITS.into_iter().find(|(_, shift)| bytes >> shift > 0);
    match unit {
        None => format!("{bytes} bytes"),
        Some((unit, shift)) => {
            let tenths = (u128::from(bytes) * 10) >> shift;
            format!("{}.{} {unit}iB", tenths / 10, tenths % 10)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_read_with_and_without_a_unit() {
        assert_eq!(parse("10"), Ok(10));
        assert_eq!(parse("2k"), Ok(2_048));
        assert_eq!(parse("3G"), Ok(3 << 30));
        for wrong in ["", "G", "1.5G", "-1", "99999999999T"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn bytes_are_shown_in_the_largest_unit() {
        assert_eq!([0, 1_023, 1_536, 5 << 30].map(shown), ["0 bytes", "1023 bytes", "1.5 KiB", "5.0 GiB"]);
    }
}
