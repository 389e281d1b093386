//! Who says a message, and the proof of it: an element appended to the envelope. The layout is described in
//! `docs/FORMAT.md`.

use archipelago_clock::NAME_BYTES_MAX;
use bytes::Bytes;

use crate::{
    DecodeError, Text,
    envelope::{self, EnvelopeKind},
    reader::{Reader, malformed, within},
    writer::Writer,
};

/// How many bytes a signature without a list of keys adds to a message at most.
pub const SIGNATURE_BYTES_MAX: usize = 192;
/// How many keys a signature may list.
pub const LISTED_KEYS_MAX: usize = 1_024;

/// What a signature begins with, so that it can never be taken for one of something else.
const DOMAIN: &str = "archipelago signature 1";
const ELEMENTS: usize = 5;

/// Who says a message, appended to its envelope. Builds that know nothing of signatures skip it.
///
/// What is here is what was said; whether it is true takes an implementation of
/// [Ed25519](https://www.rfc-editor.org/rfc/rfc8032) and the [`statement`](Self::statement).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// The name of whoever says it.
    pub by: Text,
    /// The public key with which it can be checked.
    pub key: [u8; 32],
    /// When it was signed, in milliseconds since the Unix epoch, by the clock of whoever signed.
    pub at_unix_ms: u64,
    /// Whom whoever signed believes; with announcements, now and then.
    pub keys: Vec<ListedKey>,
    /// The signature of the [`statement`](Self::statement) by that key.
    pub proof: [u8; 64],
}

/// A key, and whether whoever has it speaks for a name. Of two of one name and key the one with the greater
/// (`since_unix_ms`, not `is_trusted`) holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedKey {
    /// The name that it speaks for.
    pub name: Text,
    /// The public key.
    pub key: [u8; 32],
    /// False if it was withdrawn.
    pub is_trusted: bool,
    /// Since when that holds, in milliseconds since the Unix epoch; 0 if that is how a master was set up.
    pub since_unix_ms: u64,
}

/// In which way a message is said: one that was said in one way must be of no use in another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said<'a> {
    /// As a message of the log.
    InLog,
    /// To everyone who listens.
    Aloud,
    /// As a question.
    Asked {
        /// Who is asked.
        whom: &'a str,
    },
    /// As an answer.
    Answered {
        /// Who was asked.
        whom: &'a str,
        /// The message with the question.
        question: &'a [u8],
    },
    /// As a part of a snapshot.
    Kept {
        /// The name of the snapshot.
        snapshot: &'a str,
        /// The number of the chunk in decimal digits, or `manifest`.
        part: &'a str,
    },
}

impl Signature {
    /// The bytes that are signed: all of the message but its signature, the way in which it is said, and all of this but
    /// the proof.
    ///
    /// # Errors
    /// [`DecodeError::NotAnEnvelope`] if `message` is none.
    pub fn statement(&self, said: Said<'_>, message: &Bytes) -> Result<Vec<u8>, DecodeError> {
        let elements = Elements::of(message)?;
        let (code, whom, question): (u64, &str, &[u8]) = match said {
            Said::InLog => (1, "", &[]),
            Said::Aloud => (2, "", &[]),
            Said::Asked { whom } => (3, whom, &[]),
            Said::Answered { whom, question } => (4, whom, question),
            Said::Kept { snapshot, part } => (5, snapshot, part.as_bytes()),
        };
        let bytes = elements.known.len() + question.len() + 96 * self.keys.len() + 256;
        let mut statement = Writer::with_capacity(bytes);
        statement.array(9);
        statement.text(DOMAIN);
        statement.unsigned(code);
        statement.text(whom);
        statement.binary(question);
        self.write_claims(&mut statement);
        statement.binary(&elements.known);
        Ok(statement.into_vec())
    }

    /// The message with this appended to its envelope, in the place of another signature that it may have.
    ///
    /// # Errors
    /// [`DecodeError::NotAnEnvelope`] if `message` is none.
    pub fn attach(&self, message: &Bytes) -> Result<Bytes, DecodeError> {
        let elements = Elements::of(message)?;
        let bytes = elements.known.len() + SIGNATURE_BYTES_MAX + 96 * self.keys.len();
        let mut signed = Writer::with_capacity(bytes);
        signed.array(envelope::ELEMENTS + 1);
        signed.raw(&elements.known);
        signed.array(ELEMENTS);
        self.write_claims(&mut signed);
        signed.binary(&self.proof);
        Ok(signed.into_vec().into())
    }

    /// The signature of a message that came from outside, if it has one. Whether it is true is not looked at.
    ///
    /// # Errors
    /// Every [`DecodeError`].
    pub fn of(message: &Bytes) -> Result<Option<Signature>, DecodeError> {
        let Some(mut reader) = Elements::of(message)?.appended else { return Ok(None) };
        if reader.is_nil("signature")? {
            return Ok(None);
        }
        let elements = reader.array_of_at_least("signature", ELEMENTS)?;
        let by = reader.text("signer", "replica name bytes", NAME_BYTES_MAX)?;
        let key = bytes_of(&mut reader, "signer's key")?;
        let at_unix_ms = reader.unsigned("time of the signature")?;
        let keys = read_keys(&mut reader)?;
        let proof = bytes_of(&mut reader, "proof of the signature")?;
        for _ in ELEMENTS..elements {
            reader.skip("signature")?;
        }
        Ok(Some(Signature { by, key, at_unix_ms, keys, proof }))
    }

    fn write_claims(&self, writer: &mut Writer) {
        writer.text(&self.by);
        writer.binary(&self.key);
        writer.unsigned(self.at_unix_ms);
        write_keys(writer, &self.keys);
    }
}

/// Keys as bytes, for a store.
pub fn encode_keys(keys: &[ListedKey]) -> Vec<u8> {
    let mut writer = Writer::default();
    write_keys(&mut writer, keys);
    writer.into_vec()
}

/// Reads what [`encode_keys`] wrote.
///
/// # Errors
/// Every [`DecodeError`].
pub fn decode_keys(bytes: Bytes) -> Result<Vec<ListedKey>, DecodeError> {
    let mut reader = Reader::new(bytes);
    let keys = read_keys(&mut reader)?;
    reader.end("keys", 0)?;
    Ok(keys)
}

/// Whose state or answer a message says that it is, where the answers themselves are asked for by another name than that of
/// who gives them.
pub fn speaker(message: &Bytes) -> Option<Text> {
    if !matches!(envelope::kind(message)?, EnvelopeKind::DeltaPiece | EnvelopeKind::StateAnswer) {
        return None;
    }
    let mut body = Reader::new(Elements::of(message).ok()?.body);
    body.array("body").ok()?;
    body.text("namespace", "namespace bytes", NAME_BYTES_MAX).ok()?;
    body.array("replica").ok()?;
    body.text("replica name", "replica name bytes", NAME_BYTES_MAX).ok()
}

/// An envelope, taken apart without looking at what is in it.
struct Elements {
    /// Those that every envelope has, as they are written.
    known: Bytes,
    body: Bytes,
    /// What a later build appended, if anything.
    appended: Option<Reader>,
}

impl Elements {
    fn of(message: &Bytes) -> Result<Elements, DecodeError> {
        let mut reader = Reader::new(message.clone());
        let mut read = || {
            let elements = reader.array("envelope")?;
            let start = reader.at();
            for _ in 1..envelope::ELEMENTS {
                reader.skip("envelope")?;
            }
            let body = reader.binary("envelope body", "message bytes", message.len())?;
            Ok::<_, DecodeError>((elements, reader.since(start), body))
        };
        let (elements, known, body) = read().map_err(|_| DecodeError::NotAnEnvelope)?;
        if elements < envelope::ELEMENTS {
            return Err(DecodeError::NotAnEnvelope);
        }
        Ok(Elements { known, body, appended: (elements > envelope::ELEMENTS).then_some(reader) })
    }
}

fn bytes_of<const N: usize>(reader: &mut Reader, what: &'static str) -> Result<[u8; N], DecodeError> {
    let bytes = reader.binary(what, "signature bytes", N)?;
    bytes[..].try_into().map_err(|_| malformed(what, format!("expected {N} bytes")))
}

fn write_keys(writer: &mut Writer, keys: &[ListedKey]) {
    writer.array(keys.len() * 4);
    for listed in keys {
        writer.text(&listed.name);
        writer.binary(&listed.key);
        writer.unsigned(u64::from(listed.is_trusted));
        writer.unsigned(listed.since_unix_ms);
    }
}

fn read_keys(reader: &mut Reader) -> Result<Vec<ListedKey>, DecodeError> {
    let len = reader.array("keys")?;
    within("listed_keys_max", len / 4, LISTED_KEYS_MAX)?;
    if len % 4 != 0 {
        return Err(malformed("keys", "not a list of four things each"));
    }
    let mut keys = Vec::with_capacity(len / 4);
    for _ in 0..len / 4 {
        keys.push(ListedKey {
            name: reader.text("name of a key", "replica name bytes", NAME_BYTES_MAX)?.detached(),
            key: bytes_of(reader, "key")?,
            is_trusted: match reader.unsigned("state of a key")? {
                0 => false,
                1 => true,
                found => return Err(DecodeError::Unknown { what: "state of a key", found }),
            },
            since_unix_ms: reader.unsigned("time of a key")?,
        });
    }
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use archipelago_clock::{Incarnation, ReplicaId, VersionVector};

    use super::*;
    use crate::{Floor, Limits};

    fn floor() -> Floor {
        let replica = ReplicaId::new("paris", Incarnation::from_bits(7)).expect("a name");
        Floor { namespace: "orders".into(), replica, vector: VersionVector::new() }
    }

    fn signature() -> Signature {
        let listed = |name: &str, is_trusted| ListedKey {
            name: name.into(),
            key: [9; 32],
            is_trusted,
            since_unix_ms: u64::MAX,
        };
        Signature {
            by: "paris".into(),
            key: [1; 32],
            at_unix_ms: 1_700_000_000_000,
            keys: vec![listed("tokyo", true), listed("lima", false)],
            proof: [2; 64],
        }
    }

    #[test]
    fn what_is_attached_is_read_and_the_message_stays_what_it_is() {
        let plain = floor().encode();
        let signed = signature().attach(&plain).expect("an envelope");
        assert_eq!(Signature::of(&signed), Ok(Some(signature())));
        assert_eq!(Signature::of(&plain), Ok(None));
        // That is also what a build does that knows nothing of signatures: it skips what is appended.
        assert_eq!(Floor::decode(signed.clone(), &Limits::default()), Ok(floor()));
        assert_eq!(signature().attach(&signed), Ok(signed), "another signature takes its place");
    }

    #[test]
    fn a_signature_without_keys_is_within_its_bound() {
        let plain = floor().encode();
        let longest = Signature {
            by: "n".repeat(NAME_BYTES_MAX).as_str().into(),
            at_unix_ms: u64::MAX,
            keys: Vec::new(),
            ..signature()
        };
        let signed = longest.attach(&plain).expect("an envelope");
        assert!(signed.len() - plain.len() <= SIGNATURE_BYTES_MAX);
    }

    #[test]
    fn a_statement_covers_the_message_its_way_and_all_claims() {
        let plain = floor().encode();
        let of =
            |signature: &Signature, said, message| signature.statement(said, message).expect("an envelope");
        let log = of(&signature(), Said::InLog, &plain);
        let signed = signature().attach(&plain).expect("an envelope");
        assert_eq!(of(&signature(), Said::InLog, &signed), log, "whether it is attached already is the same");
        let other_floor = Floor { namespace: "people".into(), ..floor() }.encode();
        let mut others = vec![
            of(&signature(), Said::InLog, &other_floor),
            of(&signature(), Said::Aloud, &plain),
            of(&signature(), Said::Asked { whom: "tokyo" }, &plain),
            of(&signature(), Said::Asked { whom: "lima" }, &plain),
            of(&signature(), Said::Answered { whom: "tokyo", question: b"a" }, &plain),
            of(&signature(), Said::Answered { whom: "tokyo", question: b"b" }, &plain),
            of(&signature(), Said::Kept { snapshot: "tokyo", part: "a" }, &plain),
        ];
        for changed in [
            Signature { by: "lima".into(), ..signature() },
            Signature { key: [3; 32], ..signature() },
            Signature { at_unix_ms: 1, ..signature() },
            Signature { keys: Vec::new(), ..signature() },
        ] {
            others.push(of(&changed, Said::InLog, &plain));
        }
        others.push(log);
        let count = others.len();
        others.sort();
        others.dedup();
        assert_eq!(others.len(), count);
    }

    #[test]
    fn hostile_signatures_are_refused() {
        assert_eq!(Signature::of(&Bytes::from_static(b"hello")), Err(DecodeError::NotAnEnvelope));
        assert!(signature().attach(&Bytes::new()).is_err());
        let signed = signature().attach(&floor().encode()).expect("an envelope");
        for end in 0..signed.len() {
            assert!(Signature::of(&signed.slice(..end)).is_err(), "cut off after {end} bytes");
        }
        let many = Signature { keys: vec![signature().keys[0].clone(); LISTED_KEYS_MAX + 1], ..signature() };
        let many = many.attach(&floor().encode()).expect("an envelope");
        assert!(matches!(
            Signature::of(&many),
            Err(DecodeError::OverLimit { limit: "listed_keys_max", found: 1_025, max: 1_024 })
        ));
    }

    #[test]
    fn keys_come_back_from_a_store() {
        let keys = signature().keys;
        assert_eq!(decode_keys(encode_keys(&keys).into()), Ok(keys));
        assert_eq!(decode_keys(encode_keys(&[]).into()), Ok(Vec::new()));
        assert!(decode_keys(Bytes::from_static(b"\x91")).is_err());
    }
}
