use archipelago_pipeline::PipelineError;
use async_nats::ServerAddr;

/// The servers of one cluster, without the secrets that their URLs may have held.
pub(crate) struct Addresses {
    pub(crate) servers: Vec<ServerAddr>,
    /// What was in the URLs. The password is absent if the URL holds a token instead of a user.
    pub(crate) user_and_password: Option<(String, Option<String>)>,
}

impl Addresses {
    /// Reads a comma-separated list of URLs such as `nats://host:4222`.
    ///
    /// Credentials are taken out: async-nats shows the URLs that it is given in its log.
    pub(crate) fn parse(urls: &str) -> Result<Addresses, PipelineError> {
        let invalid = |why: &str| PipelineError::Misconfigured {
            reason: format!("{why} in the server address {:?}; expected nats://host:port", masked(urls)),
        };
        let mut servers = Vec::new();
        let mut user_and_password = None;
        for url in urls.split(',').map(str::trim) {
            let address: ServerAddr = url.parse().map_err(|_| invalid("there is an error"))?;
            let mut url = address.into_inner();
            if !url.username().is_empty() || url.password().is_some() {
                let found = Some((decoded(url.username()), url.password().map(decoded)));
                if user_and_password.is_some() && user_and_password != found {
                    return Err(invalid("there are several credentials"));
                }
                user_and_password = found;
            }
            url.set_username("").map_err(|()| invalid("there is no host"))?;
            url.set_password(None).map_err(|()| invalid("there is no host"))?;
            servers.push(ServerAddr::from_url(url).map_err(|_| invalid("there is an error"))?);
        }
        Ok(Addresses { servers, user_and_password })
    }
}

/// The URLs with everything before the last `@` of each replaced, whether or not they are well formed.
pub(crate) fn masked(urls: &str) -> String {
    let mask = |url: &str| match url.rsplit_once('@') {
        Some((before, host)) => {
            let scheme = before.split_once("://").map_or("", |(scheme, _)| scheme);
            format!("{scheme}{}***@{host}", if scheme.is_empty() { "" } else { "://" })
        }
        None => url.to_owned(),
    };
    urls.split(',').map(str::trim).map(mask).collect::<Vec<_>>().join(",")
}

/// Undoes percent-encoding. What is no valid encoding stays as it is.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let code = tail.get(..2).filter(|_| first == b'%').and_then(|code| std::str::from_utf8(code).ok());
        match code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            None => {
                bytes.push(first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_leave_the_address() {
        let parsed = Addresses::parse("nats://app:s%40cret@one:4222, nats://two:5222").expect("valid");
        let shown: Vec<_> = parsed.servers.iter().map(ServerAddr::as_url_str).collect();
        assert_eq!(shown, ["nats://one:4222", "nats://two:5222"]);
        assert_eq!(parsed.user_and_password, Some(("app".into(), Some("s@cret".into()))));
    }

    #[test]
    fn no_error_shows_a_password() {
        for urls in
            ["nats://app:hunter2@", "http://app:hunter2@host", "app:hunter2@ho st", "nats://a:hunter2@x:y"]
        {
            let error = Addresses::parse(urls).err().expect("invalid").to_string();
            assert!(!error.contains("hunter2"), "{error}");
        }
        assert_eq!(masked("nats://u:p@w@host:1,nats://b:2"), "nats://***@host:1,nats://b:2");
    }

    #[test]
    fn differing_credentials_are_refused() {
        let error = Addresses::parse("nats://a:b@one,nats://a:c@two").err().expect("refused");
        assert!(matches!(error, PipelineError::Misconfigured { .. }));
    }
}
