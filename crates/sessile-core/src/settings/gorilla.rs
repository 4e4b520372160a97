//! Settings of cookies as Go programs write them: each secret is an `AuthKey`, and the encryption key at its place in the
//! other list its `EncryptionKey`. Go's keys are bytes, often kept as base64, so both lists take that too.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::declared::Values;
use super::parse::Expected;
use crate::Error;
use crate::codec::gorilla::MAX_AGE;
use crate::codec::{GorillaCodec, KeyPair, Secret, Serializer};

/// What stands before a key that is written as base64.
const BASE64: &str = "base64:";

/// A key that encrypts cookies. It cannot be printed.
#[derive(Clone)]
pub(super) struct EncryptionKey(Box<[u8]>);

/// The encryption keys, or what is wrong with each of them.
pub(super) fn encryption_keys(texts: &[&str]) -> Result<Vec<EncryptionKey>, Vec<String>> {
    let (keys, faults): (Vec<_>, Vec<_>) = texts.iter().map(|text| encryption_key(text)).partition(Result::is_ok);
    let faults: Vec<_> = faults.into_iter().filter_map(Result::err).collect();
    if faults.is_empty() { Ok(keys.into_iter().flatten().collect()) } else { Err(faults) }
}

fn encryption_key(text: &str) -> Result<EncryptionKey, Expected> {
    let bytes = bytes(text.as_bytes())?;
    let found = bytes.len();
    [16, 24, 32].contains(&found).then_some(EncryptionKey(bytes)).ok_or_else(|| {
        format!("expected encryption keys of 16, 24 or 32 bytes, found one of {found}; write `{BASE64}` before one in base64")
    })
}

fn bytes(text: &[u8]) -> Result<Box<[u8]>, Expected> {
    let Some(base64) = text.strip_prefix(BASE64.as_bytes()) else { return Ok(text.into()) };
    let wrong = |_| format!("expected base64 with padding after `{BASE64}`, found something else");
    STANDARD.decode(base64).map(Vec::into_boxed_slice).map_err(wrong)
}

/// What is wrong with the keys as they stand together: the setting, and a sentence.
pub(super) fn fault(values: &Values) -> Option<(&'static str, String)> {
    let (keys, secrets) = (values.encryption_keys.len(), values.secrets.len());
    if values.serializer.is_none() {
        let alone =
            "expected cookie.format to be gorilla or gorilla-json beside it, found express, which does not encrypt";
        return (keys > 0).then(|| ("session.encryption_keys", alone.into()));
    }
    if values.express {
        return Some((
            "cookie.format",
            "expected express in the Express profile, found another: an Express app could not read the cookie".into(),
        ));
    }
    if keys > secrets {
        let more =
            format!("expected at most one for each of the {secrets} secrets, found {keys}; the first belong together");
        return Some(("session.encryption_keys", more));
    }
    codec(values).err().map(|error| ("session.secret", error.to_string()))
}

/// The codec that the values ask for, unless it is Express's.
pub(super) fn codec(values: &Values) -> Result<Option<GorillaCodec>, Error> {
    let Some(serializer) = values.serializer else { return Ok(None) };
    let mut keys = values.encryption_keys.iter();
    let pairs = values.secrets.iter().map(|secret| pair(secret, keys.next()));
    let codec = GorillaCodec::new(pairs.collect::<Result<Vec<_>, _>>()?)?;
    // A session that is left alone for longer than Go's default must not be lost with its cookie.
    let longest = values.lifetime.idle.max(MAX_AGE);
    Ok(Some(codec.serializer(serializer).max_age(Some(longest))))
}

fn pair(secret: &Secret, key: Option<&EncryptionKey>) -> Result<KeyPair, Error> {
    let auth = Secret::new(bytes(secret.bytes()).map_err(Error::config)?)?;
    let pair = KeyPair::new(auth)?;
    key.map_or(Ok(pair.clone()), |EncryptionKey(key)| pair.encrypting(key))
}

/// The serializer that this word asks for; `None` for Express's format.
pub(super) fn serializer(word: &str) -> Option<Serializer> {
    match word {
        "gorilla" => Some(Serializer::Gob),
        "gorilla-json" => Some(Serializer::Json),
        _ => None,
    }
}

/// The word that asks for it.
pub(super) fn format(serializer: Option<Serializer>) -> &'static str {
    match serializer {
        None => "express",
        Some(Serializer::Gob) => "gorilla",
        Some(Serializer::Json) => "gorilla-json",
    }
}
