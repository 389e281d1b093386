use std::{
    collections::HashMap,
    fs::File,
    io::{BufRead, BufReader},
    path::Path,
};

use archipelago::{
    Value,
    proto::{DecodeError, EncodeError, Limits, encode_value, split_fields},
};

use super::{DemoError, builtin};

/// One record to load: a map that holds its id, too.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Record {
    pub(crate) id: String,
    pub(crate) value: Value,
}

/// The records of a run.
#[derive(Debug, Default)]
pub(crate) struct Records {
    /// In the order of the file; of lines with the same id, the last.
    pub(crate) records: Vec<Record>,
    /// Lines that were no record and were left out.
    pub(crate) malformed: u64,
    /// Lines that replaced an earlier one with the same id.
    pub(crate) repeated: u64,
}

impl Records {
    /// The records of the file, or the built-in ones. Lines that are no record are reported to `complain`, and left
    /// out.
    pub(crate) fn read(
        file: Option<&Path>,
        limits: &Limits,
        complain: impl FnMut(String),
    ) -> Result<Records, DemoError> {
        match file {
            None => Ok(Records { records: builtin::records(), ..Records::default() }),
            Some(file) => Records::read_file(file, limits, complain),
        }
    }

    fn read_file(
        file: &Path,
        limits: &Limits,
        mut complain: impl FnMut(String),
    ) -> Result<Records, DemoError> {
        let unreadable = |source| DemoError::Records { file: file.to_owned(), source };
        let mut reader = BufReader::new(File::open(file).map_err(unreadable)?);
        let mut read = Records::default();
        let mut places = HashMap::new();
        let mut bytes = Vec::new();
        for line in 1.. {
            bytes.clear();
            if reader.read_until(b'\n', &mut bytes).map_err(unreadable)? == 0 {
                break;
            }
            if bytes.trim_ascii().is_empty() {
                continue;
            }
            match parse(&bytes, limits) {
                Ok(record) => match places.get(&record.id) {
                    Some(&place) => {
                        read.repeated += 1;
                        read.records[place] = record;
                    }
                    None => {
                        places.insert(record.id.clone(), read.records.len());
                        read.records.push(record);
                    }
                },
                Err(Unusable::Malformed(reason)) => {
                    read.malformed += 1;
                    complain(format!("{}, line {line}: left out: {reason}", file.display()));
                }
                Err(Unusable::TooLarge { id, limit, found, max }) => {
                    let file = file.to_owned();
                    return Err(DemoError::RecordTooLarge { file, line, id, limit, found, max });
                }
            }
        }
        if read.records.is_empty() {
            return Err(DemoError::NoRecords { file: file.to_owned() });
        }
        Ok(read)
    }
}

/// Why a line is no record.
#[derive(Debug, PartialEq)]
enum Unusable {
    Malformed(String),
    TooLarge { id: String, limit: &'static str, found: u64, max: u64 },
}

fn parse(line: &[u8], limits: &Limits) -> Result<Record, Unusable> {
    let malformed = |reason: &str| Unusable::Malformed(reason.to_owned());
    let text = std::str::from_utf8(line).map_err(|error| Unusable::Malformed(error.to_string()))?;
    let value: Value =
        serde_json::from_str(text).map_err(|error| Unusable::Malformed(without_line(&error)))?;
    if value.as_map().is_none() {
        return Err(malformed(&format!("expected a JSON object, found {}", value.kind())));
    }
    let id = match value.get("id") {
        None => return Err(malformed("the field \"id\" is missing")),
        Some(Value::Text(id)) if id.is_empty() => return Err(malformed("the field \"id\" is empty")),
        Some(Value::Text(id)) => id.clone(),
        Some(other) => {
            return Err(malformed(&format!("the field \"id\" must be a string, found {}", other.kind())));
        }
    };
    let shown: String = id.chars().take(64).collect();
    if id.len() > limits.entity_id_bytes_max {
        let (found, max) = (id.len() as u64, limits.entity_id_bytes_max as u64);
        return Err(Unusable::TooLarge { id: shown, limit: "entity_id_bytes_max", found, max });
    }
    let over = |limit, found, max| Unusable::TooLarge { id: shown, limit, found, max };
    let encoded = match encode_value(&value, limits) {
        Ok(encoded) => encoded,
        Err(EncodeError::OverLimit { limit, found, max }) => return Err(over(limit, found, max)),
        Err(error) => return Err(malformed(&error.to_string())),
    };
    match split_fields(&encoded, limits) {
        Ok(_) => Ok(Record { id, value }),
        Err(DecodeError::OverLimit { limit, found, max }) => Err(over(limit, found, max)),
        Err(error) => Err(malformed(&error.to_string())),
    }
}

/// serde_json counts lines from the start of its input, which is one line of the file.
fn without_line(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rsplit_once(" at line ") {
        Some((what, _)) => format!("{what} at column {}", error.column()),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Record, Unusable> {
        parse(line.as_bytes(), &Limits::default())
    }

    #[test]
    fn a_line_is_an_object_with_a_text_id() {
        let record = parsed(r#"{"id": "isle/1", "name": "Skye"}"#).unwrap();
        assert_eq!((record.id.as_str(), record.value.get("name")), ("isle/1", Some(&Value::from("Skye"))));
    }

    #[test]
    fn what_is_no_record_says_why() {
        for (line, why) in [
            ("{\"id\": \"a\"", "EOF"),
            ("[1]", "found list"),
            ("{}", "missing"),
            ("{\"id\": 7}", "found integer"),
            ("{\"id\": \"\"}", "empty"),
            ("{\"id\": \"a\", \"id\": \"b\"}", "twice"),
        ] {
            let Err(Unusable::Malformed(reason)) = parsed(line) else { panic!("{line} was taken") };
            assert!(reason.contains(why), "{line}: {reason}");
        }
        assert!(matches!(parse(b"{\"id\": \"\xff\"}", &Limits::default()), Err(Unusable::Malformed(_))));
    }

    #[test]
    fn a_record_over_a_limit_names_it() {
        let line = format!(r#"{{"id": "a", "blob": "{}"}}"#, "x".repeat(600_000));
        let Err(Unusable::TooLarge { limit, found, max, .. }) = parsed(&line) else { panic!("it was taken") };
        assert_eq!((limit, max), ("value_bytes_max", 512 * 1024));
        assert!(found > 600_000);
    }
}
