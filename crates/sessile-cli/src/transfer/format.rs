//! The lines of the file, to and from the pieces that stores understand. Times are milliseconds since 1970. A document is
//! text within JSON, not JSON itself, so that it arrives byte for byte.

use std::time::SystemTime;

use serde_json::{Value, json};
use sessile::{CutOff, Device, DeviceFacts, End, Ending, Handle, KeyForm, Piece, StoreKey, UserId};

use super::form_in_words;
use crate::times::{from_millis, to_millis};

/// What the first line calls the format.
pub(super) const FORMAT: &str = "sessile-export";

/// The only version there is.
pub(super) const VERSION: u64 = 1;

/// What the parts of a line could not be read as.
pub(super) type Expected = &'static str;

/// What the file says of all its sessions.
pub(super) struct Head {
    pub(super) form: KeyForm,
    /// The fingerprints of the secrets that sign and verify their cookies, where they were known.
    pub(super) secrets: Vec<Box<str>>,
}

pub(super) fn head(head: &Head, now: SystemTime) -> Value {
    let Head { form, secrets } = head;
    let keys = form_in_words(*form);
    json!({
        "format": FORMAT, "version": VERSION, "keys": keys, "exported_at": to_millis(now), "secrets": secrets,
    })
}

/// The secrets that a first line names.
pub(super) fn secrets(head: &Value) -> Vec<Box<str>> {
    head["secrets"].as_array().into_iter().flatten().filter_map(Value::as_str).map(Box::from).collect()
}

pub(super) fn line(piece: &Piece) -> Value {
    match piece {
        Piece::Session { key, document, expires_at } => json!({ "session": {
            "key": key.as_str(), "expires_at": to_millis(*expires_at), "document": &**document,
        } }),
        Piece::Device(key, device) => json!({ "device": device_line(key.as_ref(), device) }),
        Piece::OwnerCutOff(user, at) => json!({ "owner_cut_off": { "user": user.as_str(), "at": to_millis(*at) } }),
        Piece::CutOff(cut_off, ending) => json!({ "cut_off": {
            "before": to_millis(cut_off.before), "swept": cut_off.swept, "ending": ending_line(ending),
        } }),
        Piece::Moved(from, to, at) => {
            json!({ "moved": { "from": from.as_str(), "to": to.as_str(), "at": to_millis(*at) } })
        }
    }
}

fn device_line(key: Option<&StoreKey>, device: &Device) -> Value {
    let DeviceFacts { ip, user_agent, device: name, auth_method, provider_session } = &device.facts;
    json!({
        "key": key.map(StoreKey::as_str),
        "handle": device.handle.as_str(),
        "user": device.owner.as_str(),
        "ip": ip.map(|ip| ip.to_string()),
        "user_agent": user_agent,
        "device": name,
        "auth_method": auth_method,
        "provider_session": provider_session,
        "created_at": to_millis(device.created_at),
        "authenticated_at": device.authenticated_at.map(to_millis),
        "last_seen_at": to_millis(device.last_seen_at),
        "expires_at": to_millis(device.expires_at),
        "requests": device.requests,
        "ended": device.ended.as_ref().map(ending_line),
    })
}

fn ending_line(ending: &Ending) -> Value {
    json!({ "end": ending.end.as_str(), "at": to_millis(ending.at), "reason": ending.reason })
}

/// The piece that a line is.
pub(super) fn piece(line: &Value) -> Result<Piece, Expected> {
    let (kind, parts) = line
        .as_object()
        .filter(|line| line.len() == 1)
        .and_then(|line| line.iter().next())
        .ok_or("an object with one piece")?;
    match kind.as_str() {
        "session" => Ok(Piece::Session {
            key: key(&parts["key"])?,
            document: text(&parts["document"])?.into(),
            expires_at: time(&parts["expires_at"])?,
        }),
        "device" => Ok(Piece::Device(optional(&parts["key"], key)?, device(parts)?)),
        "owner_cut_off" => Ok(Piece::OwnerCutOff(user(&parts["user"])?, time(&parts["at"])?)),
        "cut_off" => {
            let swept = parts["swept"].as_bool().ok_or("true or false in swept")?;
            Ok(Piece::CutOff(CutOff { before: time(&parts["before"])?, swept }, ending(&parts["ending"])?))
        }
        "moved" => Ok(Piece::Moved(key(&parts["from"])?, key(&parts["to"])?, time(&parts["at"])?)),
        _ => Err("session, device, owner_cut_off, cut_off or moved"),
    }
}

fn device(parts: &Value) -> Result<Device, Expected> {
    let words = |value| optional(value, |value| Ok(Box::from(text(value)?)));
    let ip = |value: &Value| text(value)?.parse().map_err(|_| "an address in ip");
    Ok(Device {
        handle: text(&parts["handle"]).ok().and_then(Handle::parse).ok_or("a handle")?,
        owner: user(&parts["user"])?,
        facts: DeviceFacts {
            ip: optional(&parts["ip"], ip)?,
            user_agent: words(&parts["user_agent"])?,
            device: words(&parts["device"])?,
            auth_method: words(&parts["auth_method"])?,
            provider_session: words(&parts["provider_session"])?,
        },
        created_at: time(&parts["created_at"])?,
        authenticated_at: optional(&parts["authenticated_at"], time)?,
        last_seen_at: time(&parts["last_seen_at"])?,
        expires_at: time(&parts["expires_at"])?,
        requests: optional(&parts["requests"], requests)?.unwrap_or_default(),
        ended: optional(&parts["ended"], ending)?,
    })
}

fn ending(parts: &Value) -> Result<Ending, Expected> {
    Ok(Ending {
        end: text(&parts["end"]).ok().and_then(End::parse).ok_or("the way a session ended")?,
        at: time(&parts["at"])?,
        reason: optional(&parts["reason"], |value| Ok(text(value)?.into()))?,
    })
}

fn optional<T>(value: &Value, read: impl Fn(&Value) -> Result<T, Expected>) -> Result<Option<T>, Expected> {
    if value.is_null() { Ok(None) } else { read(value).map(Some) }
}

fn text(value: &Value) -> Result<&str, Expected> {
    value.as_str().ok_or("text")
}

fn key(value: &Value) -> Result<StoreKey, Expected> {
    text(value).map(StoreKey::stored).map_err(|_| "a session's key")
}

fn user(value: &Value) -> Result<UserId, Expected> {
    text(value).map(UserId::from).map_err(|_| "a user")
}

fn requests(value: &Value) -> Result<u64, Expected> {
    value.as_u64().ok_or("a count in requests")
}

fn time(value: &Value) -> Result<SystemTime, Expected> {
    value.as_i64().and_then(from_millis).ok_or("a time in milliseconds")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn at(millis: i64) -> SystemTime {
        from_millis(millis).unwrap()
    }

    fn ended() -> Ending {
        Ending { end: End::Revoked, at: at(5), reason: Some("lost phone".into()) }
    }

    fn some_device(ended: Option<Ending>) -> Device {
        Device {
            handle: Handle::parse("6f1d2c84-0b57-4e39-9a6e-3d80c5b7f214").unwrap(),
            owner: "ada".into(),
            facts: DeviceFacts {
                ip: Some("2001:db8::1".parse().unwrap()),
                user_agent: Some("<script>\u{1b}".into()),
                ..DeviceFacts::default()
            },
            created_at: at(1),
            authenticated_at: ended.as_ref().map(|_| at(2)),
            last_seen_at: at(3),
            expires_at: at(4),
            requests: 5,
            ended,
        }
    }

    #[test]
    fn every_kind_of_piece_comes_back_as_it_was() {
        let (one, other) = (StoreKey::stored("one"), StoreKey::stored("other"));
        let document = "{\"cookie\":{},\n \"n\":1E400, \"lone\":\"\\ud800\"}";
        let session = Piece::Session { key: one.clone(), document: document.into(), expires_at: at(-1) };
        for piece in [
            session,
            Piece::Device(Some(one.clone()), some_device(None)),
            Piece::Device(None, some_device(Some(ended()))),
            Piece::OwnerCutOff("ada".into(), at(7)),
            Piece::CutOff(CutOff { before: at(8), swept: true }, ended()),
            Piece::Moved(one.clone(), other.clone(), at(9)),
        ] {
            let written = line(&piece).to_string();
            let read = super::piece(&serde_json::from_str(&written).unwrap()).unwrap();
            assert_eq!(line(&read).to_string(), written);
            if let (Piece::Device(_, before), Piece::Device(_, after)) = (&piece, &read) {
                assert_eq!(before, after);
            }
            if let Piece::Session { document: read, .. } = &read {
                assert_eq!(&**read, document);
            }
        }
    }

    #[test]
    fn a_device_of_before_requests_were_counted_has_none() {
        let mut old = line(&Piece::Device(None, some_device(None)));
        assert!(old["device"].as_object_mut().unwrap().remove("requests").is_some());
        let Piece::Device(_, read) = super::piece(&old).unwrap() else { panic!("expected a device") };
        assert_eq!(read, Device { requests: 0, ..some_device(None) });
        old["device"]["requests"] = json!(-1);
        assert_eq!(super::piece(&old).unwrap_err(), "a count in requests");
    }

    #[test]
    fn what_is_no_piece_is_said() {
        for (line, expected) in [
            (json!(1), "an object with one piece"),
            (json!({ "session": {}, "device": {} }), "an object with one piece"),
            (json!({ "row": {} }), "session, device, owner_cut_off, cut_off or moved"),
            (json!({ "session": { "key": "k", "document": "{}", "expires_at": "now" } }), "a time in milliseconds"),
            (json!({ "session": { "document": "{}", "expires_at": 1 } }), "a session's key"),
            (json!({ "owner_cut_off": { "user": 1, "at": 1 } }), "a user"),
        ] {
            assert_eq!(piece(&line).unwrap_err(), expected);
        }
    }
}
