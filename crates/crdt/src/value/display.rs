use std::fmt::{self, Display, Formatter, Write};

use super::{Value, tag};

/// One line of JSON, except that bytes are `h'00ff'`, floats include `NaN`, `inf` and `-inf`, and a CRDT is
/// `crdt:pn-counter(7)`. For people: what
/// programs read comes from serde.
impl Display for Value {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Value::Null => f.write_str("null"),
            Value::Bool(bool) => write!(f, "{bool}"),
            Value::Int(int) => write!(f, "{int}"),
            Value::UInt(int) => write!(f, "{int}"),
            // `Debug` keeps the point in `1.0`.
            Value::Float(float) => write!(f, "{float:?}"),
            Value::Text(text) => quoted(text, f),
            Value::Bytes(bytes) => write!(f, "h'{}'", tag::hex(bytes)),
            Value::List(elements) => {
                f.write_char('[')?;
                for (index, element) in elements.iter().enumerate() {
                    separator(index, f)?;
                    write!(f, "{element}")?;
                }
                f.write_char(']')
            }
            Value::Map(entries) => {
                f.write_char('{')?;
                for (index, (key, value)) in entries.iter().enumerate() {
                    separator(index, f)?;
                    quoted(key, f)?;
                    write!(f, ":{value}")?;
                }
                f.write_char('}')
            }
            Value::Crdt(crdt) => write!(f, "{}({})", crdt.kind().name(), crdt.value()),
        }
    }
}

fn separator(index: usize, f: &mut Formatter<'_>) -> fmt::Result {
    if index > 0 { f.write_char(',') } else { Ok(()) }
}

fn quoted(text: &str, f: &mut Formatter<'_>) -> fmt::Result {
    f.write_char('"')?;
    for char in text.chars() {
        match char {
            '"' => f.write_str("\\\"")?,
            '\\' => f.write_str("\\\\")?,
            '\n' => f.write_str("\\n")?,
            '\r' => f.write_str("\\r")?,
            '\t' => f.write_str("\\t")?,
            control if control.is_control() => write!(f, "\\u{:04x}", u32::from(control))?,
            char => f.write_char(char)?,
        }
    }
    f.write_char('"')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_like_compact_json() {
        let value = crate::value!({ "b": [1, 1.0, null, true], "a": "say \"hi\"\n\u{1}" });
        assert_eq!(value.to_string(), r#"{"a":"say \"hi\"\n\u0001","b":[1,1.0,null,true]}"#);
        assert_eq!(Value::from(vec![0u8, 255]).to_string(), "h'00ff'");
        assert_eq!(Value::Float(f64::NAN).to_string(), "NaN");
    }
}
