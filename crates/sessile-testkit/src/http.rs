//! A small HTTP/1.1 client that sends the bytes it is given, and a [`Browser`] that keeps cookies.
//!
//! A test of a hostile request needs a client without opinions: ordinary clients refuse to send a Cookie header with a
//! control character in it, merge repeated headers, or follow a redirect away from the answer under test. This one
//! opens a connection per request, writes what it was told, and reads one response.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "test tools: what goes wrong here ends the test")]

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// How long one request may take, from connecting to the last byte of the response.
const TIME_LIMIT: Duration = Duration::from_secs(30);

/// Sends requests to one server. It keeps nothing between requests.
///
/// ```no_run
/// # async fn example() {
/// use sessile_testkit::http::Client;
///
/// let client = Client::new("http://127.0.0.1:8080");
/// let response = client.get("/").header("Cookie", b"sid=\xff\x00").send().await;
/// assert_eq!(response.status, 200);
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Client {
    authority: String,
}

impl Client {
    /// A client for `http://HOST:PORT`.
    ///
    /// # Panics
    ///
    /// When the URL is anything else: there is no TLS here, and paths belong to the requests.
    pub fn new(base_url: &str) -> Client {
        let authority = base_url
            .strip_prefix("http://")
            .map(|rest| rest.trim_end_matches('/'))
            .filter(|authority| authority.contains(':') && !authority.contains('/'))
            .unwrap_or_else(|| panic!("expected a URL like http://127.0.0.1:8080, found {base_url:?}"));
        Client { authority: authority.to_owned() }
    }

    /// `GET path`.
    pub fn get(&self, path: &str) -> RequestBuilder {
        self.request("GET", path)
    }

    /// `POST path`.
    pub fn post(&self, path: &str) -> RequestBuilder {
        self.request("POST", path)
    }

    /// `DELETE path`.
    pub fn delete(&self, path: &str) -> RequestBuilder {
        self.request("DELETE", path)
    }

    /// Any method, any path; both are sent as they are.
    pub fn request(&self, method: &str, path: &str) -> RequestBuilder {
        RequestBuilder {
            authority: self.authority.clone(),
            method: method.to_owned(),
            path: path.to_owned(),
            headers: Vec::new(),
            body: Vec::new(),
            jar: None,
        }
    }
}

/// A person's browser, as far as cookies go: what one server set comes back with the next request to it.
///
/// Domain, Path, Secure and SameSite are not looked at, and an Expires in the future is not waited for. Cloning it
/// copies the cookies of this moment: another machine with a stolen cookie, or a tab that missed what came later.
/// Requests that one browser has in flight at the same time share its cookies.
#[derive(Debug)]
pub struct Browser {
    client: Client,
    jar: Jar,
}

type Jar = Arc<Mutex<BTreeMap<String, String>>>;

impl Browser {
    /// A browser without cookies, for `http://HOST:PORT`.
    ///
    /// # Panics
    ///
    /// As [`Client::new`].
    pub fn new(base_url: &str) -> Browser {
        Browser { client: Client::new(base_url), jar: Jar::default() }
    }

    /// `GET path`, with the cookies.
    pub fn get(&self, path: &str) -> RequestBuilder {
        self.request("GET", path)
    }

    /// `POST path`, with the cookies.
    pub fn post(&self, path: &str) -> RequestBuilder {
        self.request("POST", path)
    }

    /// `DELETE path`, with the cookies.
    pub fn delete(&self, path: &str) -> RequestBuilder {
        self.request("DELETE", path)
    }

    /// Any method, any path, with the cookies. A Cookie header added to the request goes out besides theirs.
    pub fn request(&self, method: &str, path: &str) -> RequestBuilder {
        RequestBuilder { jar: Some(self.jar.clone()), ..self.client.request(method, path) }
    }

    /// The value of a cookie as it stood in Set-Cookie, nothing decoded.
    pub fn cookie(&self, name: &str) -> Option<String> {
        self.jar.lock().unwrap().get(name).cloned()
    }

    /// Puts a cookie in, as if the server had set it.
    pub fn set_cookie(&self, name: &str, value: &str) {
        self.jar.lock().unwrap().insert(name.to_owned(), value.to_owned());
    }

    /// Forgets every cookie.
    pub fn clear(&self) {
        self.jar.lock().unwrap().clear();
    }
}

impl Clone for Browser {
    fn clone(&self) -> Browser {
        let cookies = self.jar.lock().unwrap().clone();
        Browser { client: self.client.clone(), jar: Arc::new(Mutex::new(cookies)) }
    }
}

/// A request being put together.
///
/// Host, `Connection: close` and Content-Length are added unless the request has them (or Transfer-Encoding) already.
#[derive(Clone, Debug)]
#[must_use = "a request does nothing until it is sent"]
pub struct RequestBuilder {
    authority: String,
    method: String,
    path: String,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
    jar: Option<Jar>,
}

impl RequestBuilder {
    /// Adds a header line. The bytes are sent as they are; a name may be used several times.
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> RequestBuilder {
        self.headers.push((name.to_owned(), value.as_ref().to_vec()));
        self
    }

    /// The body. Its Content-Type is a [`header`](Self::header) like any other.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> RequestBuilder {
        self.body = body.into();
        self
    }

    /// Sends the request and waits for the whole response, for at most 30 seconds.
    ///
    /// # Panics
    ///
    /// When no well-formed response comes in that time.
    pub async fn send(self) -> Response {
        let request = format!("{} http://{}{}", self.method, self.authority, self.path);
        self.try_send().await.unwrap_or_else(|error| panic!("expected a response to {request}: {error}"))
    }

    /// Like [`send`](Self::send), for a test in which the server may be down.
    ///
    /// # Errors
    ///
    /// What kept the response from arriving; `TimedOut` after 30 seconds.
    pub async fn try_send(self) -> io::Result<Response> {
        match tokio::time::timeout(TIME_LIMIT, self.exchange()).await {
            Ok(answer) => answer,
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "no complete response within 30 s")),
        }
    }

    async fn exchange(self) -> io::Result<Response> {
        let (reader, mut writer) = TcpStream::connect(&self.authority).await?.into_split();
        // A server may answer and hang up before it has read everything: the answer counts, not the failed write.
        let _ = writer.write_all(&self.to_bytes()).await;
        let response = read_response(&self.method, BufReader::new(reader)).await?;
        if let Some(jar) = &self.jar {
            let mut jar = jar.lock().unwrap();
            for line in response.headers("set-cookie") {
                match read_set_cookie(line) {
                    (name, Some(value)) => drop(jar.insert(name.to_owned(), value.to_owned())),
                    (name, None) => drop(jar.remove(name)),
                }
            }
        }
        Ok(response)
    }

    fn to_bytes(&self) -> Vec<u8> {
        let has = |name: &str| self.headers.iter().any(|(had, _)| had.eq_ignore_ascii_case(name));
        let mut bytes = format!("{} {} HTTP/1.1\r\n", self.method, self.path).into_bytes();
        let mut line = |name: &str, value: &[u8]| {
            bytes.extend_from_slice(name.as_bytes());
            bytes.extend_from_slice(b": ");
            bytes.extend_from_slice(value);
            bytes.extend_from_slice(b"\r\n");
        };

        if !has("host") {
            line("Host", self.authority.as_bytes());
        }
        if !has("connection") {
            line("Connection", b"close");
        }
        let may_go_without = self.body.is_empty() && matches!(&*self.method, "GET" | "HEAD");
        if !may_go_without && !has("content-length") && !has("transfer-encoding") {
            line("Content-Length", self.body.len().to_string().as_bytes());
        }
        if let Some(cookies) = self.jar.as_ref().and_then(cookie_header) {
            line("Cookie", cookies.as_bytes());
        }
        for (name, value) in &self.headers {
            line(name, value);
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(&self.body);
        bytes
    }
}

/// A response, read to its end.
#[derive(Clone)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The header lines in the order they came, names as the server spelled them.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body, with any chunking undone.
    pub body: Vec<u8>,
}

impl Response {
    /// The first header of that name, in any case.
    ///
    /// # Panics
    ///
    /// When its value is not UTF-8; [`Response::headers`] the field has the bytes.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers(name).next()
    }

    /// Every header of that name, in any case.
    ///
    /// # Panics
    ///
    /// When a value is not UTF-8.
    pub fn headers(&self, name: &str) -> impl Iterator<Item = &str> {
        let wanted = self.headers.iter().filter(move |(had, _)| had.eq_ignore_ascii_case(name));
        wanted.map(|(name, value)| {
            str::from_utf8(value)
                .unwrap_or_else(|_| panic!("expected the header {name} to be UTF-8, found {}", value.escape_ascii()))
        })
    }

    /// The body as text.
    ///
    /// # Panics
    ///
    /// When it is not UTF-8.
    pub fn text(&self) -> &str {
        str::from_utf8(&self.body).unwrap_or_else(|_| panic!("expected a body in UTF-8, found {self:?}"))
    }

    /// The body as JSON.
    ///
    /// # Panics
    ///
    /// When it is not JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("expected a body in JSON ({error}), found {self:?}"))
    }
}

/// The response as text, for the message of a failed assertion.
impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.status)?;
        for (name, value) in &self.headers {
            writeln!(f, "{name}: {}", value.escape_ascii())?;
        }
        write!(f, "\n{}", String::from_utf8_lossy(&self.body))
    }
}

async fn read_response(method: &str, mut stream: impl AsyncBufRead + Unpin) -> io::Result<Response> {
    let (status, headers) = loop {
        let status = read_status(&mut stream).await?;
        let headers = read_headers(&mut stream).await?;
        if !(100..200).contains(&status) {
            break (status, headers);
        }
    };
    let mut response = Response { status, headers, body: Vec::new() };
    if method == "HEAD" || matches!(status, 204 | 304) {
        return Ok(response);
    }
    response.body = if response.header("transfer-encoding").is_some() {
        read_chunks(&mut stream).await?
    } else if let Some(length) = response.header("content-length") {
        let length = length.parse().map_err(|_| malformed("a number in Content-Length", length.as_bytes()))?;
        read_exactly(&mut stream, length).await?
    } else {
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await?;
        rest
    };
    Ok(response)
}

async fn read_status(stream: &mut (impl AsyncBufRead + Unpin)) -> io::Result<u16> {
    let line = read_line(stream).await?;
    let status = line.strip_prefix(b"HTTP/1.").and_then(|rest| rest.get(2..5));
    let status = status.and_then(|digits| str::from_utf8(digits).ok()?.parse().ok());
    status.ok_or_else(|| malformed("a status line", &line))
}

async fn read_headers(stream: &mut (impl AsyncBufRead + Unpin)) -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut headers = Vec::new();
    loop {
        let line = read_line(stream).await?;
        if line.is_empty() {
            return Ok(headers);
        }
        let colon = line.iter().position(|&byte| byte == b':');
        let (name, value) = line.split_at(colon.ok_or_else(|| malformed("a header line", &line))?);
        headers.push((String::from_utf8_lossy(name).into_owned(), value[1..].trim_ascii().to_vec()));
    }
}

async fn read_chunks(stream: &mut (impl AsyncBufRead + Unpin)) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = read_line(stream).await?;
        let size = str::from_utf8(&line).ok().and_then(|line| line.split(';').next());
        let size = size.and_then(|digits| u64::from_str_radix(digits.trim(), 16).ok());
        match size.ok_or_else(|| malformed("the size of a chunk", &line))? {
            0 => {
                read_headers(stream).await?;
                return Ok(body);
            }
            size => body.append(&mut read_exactly(stream, size).await?),
        }
        read_line(stream).await?;
    }
}

async fn read_exactly(stream: &mut (impl AsyncBufRead + Unpin), length: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = stream.take(length).read_to_end(&mut bytes).await?;
    if read as u64 == length { Ok(bytes) } else { Err(cut_off()) }
}

async fn read_line(stream: &mut (impl AsyncBufRead + Unpin)) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    stream.read_until(b'\n', &mut line).await?;
    if line.pop() != Some(b'\n') {
        return Err(cut_off());
    }
    line.pop_if(|byte| *byte == b'\r');
    Ok(line)
}

fn cut_off() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the connection closed before the response was complete")
}

fn malformed(expected: &str, found: &[u8]) -> io::Error {
    let message = format!("expected {expected}, found \"{}\"", found.escape_ascii());
    io::Error::new(io::ErrorKind::InvalidData, message)
}

fn cookie_header(jar: &Jar) -> Option<String> {
    let pairs: Vec<_> = jar.lock().unwrap().iter().map(|(name, value)| format!("{name}={value}")).collect();
    (!pairs.is_empty()).then(|| pairs.join("; "))
}

/// The cookie's name, and its value unless the line removes it (RFC 6265, section 5.2: Max-Age goes before Expires).
fn read_set_cookie(line: &str) -> (&str, Option<&str>) {
    let (pair, attributes) = line.split_once(';').unwrap_or((line, ""));
    let (name, value) =
        pair.split_once('=').unwrap_or_else(|| panic!("expected Set-Cookie to begin with name=value, found {line:?}"));

    let (mut max_age, mut expires) = (None, None);
    for attribute in attributes.split(';') {
        let (key, value) = attribute.split_once('=').unwrap_or((attribute, ""));
        match key.trim().to_ascii_lowercase().as_str() {
            "max-age" => max_age = Some(value.trim().parse::<i64>().unwrap_or_else(|_| unreadable(attribute))),
            "expires" => expires = Some(read_http_date(value.trim()).unwrap_or_else(|| unreadable(attribute))),
            _ => {}
        }
    }
    let removed = match (max_age, expires) {
        (Some(seconds), _) => seconds <= 0,
        (None, Some(at)) => at <= now(),
        (None, None) => false,
    };
    (name.trim(), (!removed).then_some(value.trim()))
}

/// A browser would ignore the attribute; in a test it is a bug of the server's.
fn unreadable<T>(attribute: &str) -> T {
    panic!("expected a Set-Cookie attribute that browsers can read, found {attribute:?}")
}

/// Seconds since 1970 of a date like `Wed, 21 Oct 2015 07:28:00 GMT`, the one form RFC 9110 (5.6.7) lets servers send.
fn read_http_date(date: &str) -> Option<i64> {
    const MONTHS: [&str; 12] = ["Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec", "Jan", "Feb"];
    let fields: Vec<&str> = date.split([' ', ':']).collect();
    let [_weekday, day, month, year, hour, minute, second, "GMT"] = fields[..] else {
        return None;
    };
    let number = |text: &str| text.parse::<i64>().ok();
    // Years that begin in March have their leap day at the end, so one formula counts the days of all months before.
    let month = MONTHS.iter().position(|name| *name == month)?;
    let year = number(year)? - i64::from(month >= 10);
    let days_before_month = (153 * month as i64 + 2) / 5;
    let days = 365 * year + year / 4 - year / 100 + year / 400 + days_before_month + number(day)? - 1 - 719_468;
    Some(((days * 24 + number(hour)?) * 60 + number(minute)?) * 60 + number(second)?)
}

fn now() -> i64 {
    #[allow(clippy::disallowed_methods, reason = "for a name that nobody has, not for a time")]
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.expect("expected a clock after 1970").as_secs() as i64
}

/// A port of 127.0.0.1 on which nothing listens at the moment.
///
/// It lies below the range from which the kernel takes ports for outgoing connections, so a server that is stopped and
/// started again finds it still free. A server that can bind port 0 itself should: between this call and its own, another
/// process may be quicker.
pub fn free_port() -> u16 {
    (0..1000)
        .map(|_| 20_000 + (random() % 10_000) as u16)
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .expect("expected a free port of 127.0.0.1 between 20000 and 30000")
}

/// A number no other call in any process gets, for names and ports. Not for secrets.
pub(crate) fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_read_as_seconds_since_1970() {
        // The expected numbers are GNU date's: `date -u -d "$DATE" +%s`.
        let dates = [
            ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
            ("Wed, 21 Oct 2015 07:28:00 GMT", 1_445_412_480),
            ("Thu, 29 Feb 2024 23:59:59 GMT", 1_709_251_199),
            ("Fri, 01 Mar 2024 00:00:00 GMT", 1_709_251_200),
            ("Fri, 31 Dec 2100 12:00:00 GMT", 4_133_937_600),
        ];
        for (date, seconds) in dates {
            assert_eq!(read_http_date(date), Some(seconds), "{date}");
        }
        for junk in ["", "tomorrow", "Wed, 21 Okt 2015 07:28:00 GMT", "Wed, 21 Oct 2015 07:28:00 CET"] {
            assert_eq!(read_http_date(junk), None, "{junk}");
        }
    }

    #[test]
    fn a_cookie_is_removed_by_max_age_before_expires() {
        let lines = [
            ("sid=a; Path=/; HttpOnly", Some("a")),
            ("sid=a=b==", Some("a=b==")),
            ("sid=", Some("")),
            ("sid=a; max-age=0", None),
            ("sid=a; Max-Age=-1", None),
            ("sid=a; Expires=Thu, 01 Jan 1970 00:00:00 GMT", None),
            ("sid=a; Expires=Fri, 31 Dec 2100 12:00:00 GMT", Some("a")),
            ("sid=a; Expires=Fri, 31 Dec 2100 12:00:00 GMT; Max-Age=0", None),
            ("sid=a; Max-Age=60; Expires=Thu, 01 Jan 1970 00:00:00 GMT", Some("a")),
        ];
        for (line, value) in lines {
            assert_eq!(read_set_cookie(line), ("sid", value), "{line}");
        }
    }
}
