use crate::PipelineError;

/// The longest name, in bytes.
const NAME_BYTES_MAX: usize = 64;

/// Checks the name of a namespace or an origin: 1 to 64 characters of `A-Z a-z 0-9 _ -`, so that it is one token of
/// a subject and part of a log's name on every broker.
///
/// # Errors
///
/// [`PipelineError::InvalidName`].
pub fn check_name(name: &str) -> Result<(), PipelineError> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(fits) {
        Ok(())
    } else {
        Err(PipelineError::InvalidName { name: name.to_owned() })
    }
}

/// The longest message id, in bytes.
const MESSAGE_ID_BYTES_MAX: usize = 256;

/// Checks a message id: 1 to 256 visible ASCII characters, so that it is one header value on every broker.
///
/// # Errors
///
/// [`PipelineError::InvalidName`].
pub fn check_message_id(id: &str) -> Result<(), PipelineError> {
    if (1..=MESSAGE_ID_BYTES_MAX).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(())
    } else {
        Err(PipelineError::InvalidName { name: id.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_token_of_a_subject() {
        for good in ["a", "orders-EU_1", &"x".repeat(64)] {
            check_name(good).expect("a valid name");
        }
        for bad in ["", "a.b", "a b", "*", ">", "ü", "a\n", &"x".repeat(65)] {
            assert!(matches!(check_name(bad), Err(PipelineError::InvalidName { .. })), "{bad:?}");
        }
    }

    #[test]
    fn a_message_id_is_one_header_value() {
        for good in ["a", "paris#3/1~again", &"x".repeat(256)] {
            check_message_id(good).expect("a valid id");
        }
        for bad in ["", "a b", "a\r\nX: y", "ü", &"x".repeat(257)] {
            assert!(matches!(check_message_id(bad), Err(PipelineError::InvalidName { .. })), "{bad:?}");
        }
    }
}
