//! The few protobuf messages that a fake of istio-cni and of istiod's CA speak, by hand. Pure.
//!
//! Field numbers are those of istio.workload.zds and istio.v1.auth; encoding is that of protobuf's wire format.

/// Bytes that are not the message that was expected. The peer's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no {0}")]
pub(crate) struct Broken(&'static str);

/// What a proxy asks of the CA.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct CertificateRequest {
    /// PKCS#10 in PEM.
    pub(crate) csr: String,
    /// The identity that a proxy of many pods asks for, from the metadata's `ImpersonatedIdentity`.
    pub(crate) identity: Option<String>,
    pub(crate) seconds: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Value<'a> {
    Bytes(&'a [u8]),
    /// Four or eight bytes; none of our messages has one that matters.
    Fixed,
    Number(u64),
}

// === ZDS ===

/// True for a greeting of version 1.
pub(crate) fn is_hello(packet: &[u8]) -> bool {
    fields(packet).is_some_and(|fields| fields.contains(&(1, Value::Number(1))))
}

/// Announces a pod; its namespace goes with it.
pub(crate) fn add(uid: &str, name: &str, namespace: &str, service_account: &str) -> Vec<u8> {
    let info = message(&[(1, name.as_bytes()), (2, namespace.as_bytes()), (3, service_account.as_bytes())]);
    message(&[(1, &message(&[(1, uid.as_bytes()), (2, &info)]))])
}

/// Says that every pod was announced.
pub(crate) fn snapshot_sent() -> Vec<u8> {
    message(&[(3, &[])])
}

/// What a proxy says about the last packet: its complaint, if any.
pub(crate) fn complaint(packet: &[u8]) -> Result<Option<String>, Broken> {
    let broken = Broken("WorkloadResponse");
    let ack = bytes(&fields(packet).ok_or(broken)?, 1).ok_or(broken)?;
    let error = bytes(&fields(ack).ok_or(broken)?, 1).unwrap_or_default();
    Ok((!error.is_empty()).then(|| String::from_utf8_lossy(error).into_owned()))
}

// === the certificate service ===

/// Reads a request out of its gRPC frame.
pub(crate) fn certificate_request(body: &[u8]) -> Result<CertificateRequest, Broken> {
    let broken = Broken("IstioCertificateRequest");
    let fields_of_it = fields(unframed(body).ok_or(broken)?).ok_or(broken)?;
    let csr = String::from_utf8(bytes(&fields_of_it, 1).ok_or(broken)?.to_vec()).map_err(|_| broken)?;
    let seconds = fields_of_it.iter().find_map(|field| match field {
        (3, Value::Number(seconds)) => Some(*seconds),
        _ => None,
    });
    let identity = bytes(&fields_of_it, 4).and_then(impersonated);
    Ok(CertificateRequest { csr, identity, seconds: seconds.unwrap_or_default() })
}

/// google.protobuf.Struct: a map of names to values, of which a string is field 3.
fn impersonated(metadata: &[u8]) -> Option<String> {
    let entries = fields(metadata)?;
    let entries = entries.iter().filter_map(|field| match field {
        (1, Value::Bytes(entry)) => fields(entry),
        _ => None,
    });
    let value = entries.into_iter().find(|entry| bytes(entry, 1) == Some(b"ImpersonatedIdentity"))?;
    let text = bytes(&fields(bytes(&value, 2)?)?, 3)?.to_vec();
    String::from_utf8(text).ok()
}

/// The answer in its gRPC frame: the leaf and its intermediates, one each, and the roots in one.
pub(crate) fn certificate_response(chain: &[String]) -> Vec<u8> {
    let fields: Vec<(u64, &[u8])> = chain.iter().map(|pem| (1, pem.as_bytes())).collect();
    let message = message(&fields);
    let length = u32::try_from(message.len()).expect("a few certificates are less than 4 GiB");
    let mut frame = vec![0];
    frame.extend(length.to_be_bytes());
    frame.extend(message);
    frame
}

/// One message that is not compressed.
fn unframed(body: &[u8]) -> Option<&[u8]> {
    let (head, message) = body.split_first_chunk::<5>()?;
    let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]);
    (head[0] == 0 && usize::try_from(length).ok()? == message.len()).then_some(message)
}

// === the wire format ===

fn message(fields: &[(u64, &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    for (number, bytes) in fields {
        varint(&mut out, number << 3 | 2);
        varint(&mut out, bytes.len() as u64);
        out.extend_from_slice(bytes);
    }
    out
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn fields(mut bytes: &[u8]) -> Option<Vec<(u64, Value<'_>)>> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let tag = take_varint(&mut bytes)?;
        let length = match tag & 7 {
            0 => {
                found.push((tag >> 3, Value::Number(take_varint(&mut bytes)?)));
                continue;
            }
            1 => 8,
            2 => take_varint(&mut bytes)?,
            5 => 4,
            _ => return None,
        };
        let (value, rest) = bytes.split_at_checked(usize::try_from(length).ok()?)?;
        bytes = rest;
        found.push((tag >> 3, if tag & 7 == 2 { Value::Bytes(value) } else { Value::Fixed }));
    }
    Some(found)
}

fn bytes<'a>(fields: &[(u64, Value<'a>)], number: u64) -> Option<&'a [u8]> {
    fields.iter().find_map(|field| match field {
        (found, Value::Bytes(bytes)) if *found == number => Some(*bytes),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    // Named in full: the bench itself has no test functions, and nothing to import for them.

    #[test]
    fn pods_are_announced() {
        let expected = b"\x0a\x12\x0a\x02u1\x12\x0c\x0a\x01n\x12\x02ns\x1a\x03acc";
        assert_eq!(super::add("u1", "n", "ns", "acc"), expected);
        assert_eq!(super::snapshot_sent(), [0x1a, 0]);
        // A length of two bytes.
        assert_eq!(super::add(&"u".repeat(200), "n", "ns", "acc")[..6], [0x0a, 0xd9, 0x01, 0x0a, 0xc8, 0x01]);
    }

    #[test]
    fn proxies_are_understood() {
        assert!(super::is_hello(&[8, 1]));
        assert!(!super::is_hello(&[]) && !super::is_hello(&[8, 0]) && !super::is_hello(&[8]));
        let check = |packet: &[u8], expected| assert_eq!(super::complaint(packet), expected, "{packet:?}");
        check(&[0x0a, 0], Ok(None));
        check(&[0x0a, 4, 0x0a, 2, b'n', b'o'], Ok(Some("no".into())));
        let broken = super::Broken("WorkloadResponse");
        check(&[], Err(broken));
        check(&[0x0a, 9, 1], Err(broken));
        check(&[0x0a, 2, 0x0f, 0], Err(broken));
    }

    #[test]
    fn certificates_are_asked_for_and_given() {
        let check = |body: &[u8], expected| assert_eq!(super::certificate_request(body), expected, "{body:?}");
        let value = super::message(&[(3, b"spiffe://td/ns/a/sa/b")]);
        let other = super::message(&[(1, b"Other"), (2, &value)]);
        let entry = super::message(&[(1, b"ImpersonatedIdentity"), (2, &value)]);
        let mut message = super::message(&[(1, b"csr"), (4, &super::message(&[(1, &other), (1, &entry)]))]);
        // validity_duration: 86,400; and a field of eight bytes that nobody knows.
        message.extend([0x18, 0x80, 0xa3, 0x05, 0x49, 1, 2, 3, 4, 5, 6, 7, 8]);
        let framed = |message: &[u8]| [&[0, 0, 0, 0, message.len() as u8], message].concat();
        let identity = Some("spiffe://td/ns/a/sa/b".to_owned());
        let whole = super::CertificateRequest { csr: "csr".into(), identity, seconds: 86_400 };
        check(&framed(&message), Ok(whole));
        let bare = super::CertificateRequest { csr: "x".into(), identity: None, seconds: 0 };
        check(&framed(&super::message(&[(1, b"x")])), Ok(bare));
        let broken = super::Broken("IstioCertificateRequest");
        check(&[], Err(broken));
        check(&[0, 0, 0, 0, 9, 1], Err(broken));
        check(&[1, 0, 0, 0, 3, 0x0a, 1, b'x'], Err(broken));
        check(&framed(&[0x0a, 1, 0xff]), Err(broken));
        let answer = super::certificate_response(&["l".into(), "roots".into()]);
        assert_eq!(answer, b"\x00\x00\x00\x00\x0a\x0a\x01l\x0a\x05roots");
    }
}
