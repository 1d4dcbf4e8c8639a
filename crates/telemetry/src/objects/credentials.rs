//! Who we are to the storage: from the environment, or from a file in the form of AWS's command line.

use std::fmt;
use std::path::PathBuf;

use super::config::{ObjectStorage, ObjectStorageError};

/// The longest file of credentials, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// What requests are signed with. Shown without its secrets.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Credentials {
    pub(super) access_key_id: String,
    pub(super) secret_access_key: String,
    pub(super) session_token: Option<String>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("access_key_id", &self.access_key_id).finish_non_exhaustive()
    }
}

/// Where they come from.
#[derive(Debug, Clone)]
pub(super) enum Source {
    Environment(Credentials),
    /// A file, and the part of it that is ours.
    File {
        path: PathBuf,
        profile: String,
    },
}

impl Source {
    /// Where they come from, as configured; `variable` reads the environment.
    pub(super) fn find(
        storage: &ObjectStorage,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, ObjectStorageError> {
        let said = |name: &str| variable(name).filter(|value| !value.is_empty());
        let in_file = |path: PathBuf| {
            let profile = said("AWS_PROFILE").unwrap_or_else(|| "default".to_owned());
            let source = Self::File { path, profile };
            let read = source.read().map_err(|why| ObjectStorageError::new("credentials_file", why));
            read.map(|_| source)
        };
        if let Some(path) = &storage.credentials_file {
            return in_file(path.clone());
        }
        if let (Some(access_key_id), Some(secret_access_key)) =
            (said("AWS_ACCESS_KEY_ID"), said("AWS_SECRET_ACCESS_KEY"))
        {
            let session_token = said("AWS_SESSION_TOKEN");
            return Ok(Self::Environment(Credentials { access_key_id, secret_access_key, session_token }));
        }
        match said("AWS_SHARED_CREDENTIALS_FILE") {
            Some(path) => in_file(path.into()),
            None => Err(ObjectStorageError::new(
                "credentials_file",
                "is not set, and neither are AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, nor \
                 AWS_SHARED_CREDENTIALS_FILE; set one of them",
            )),
        }
    }

    /// What to sign with now.
    pub(super) fn read(&self) -> Result<Credentials, String> {
        match self {
            Self::Environment(credentials) => Ok(credentials.clone()),
            Self::File { path, profile } => {
                let shown = path.display();
                let text = input::read_to_string(path, FILE_BYTES_MAX)
                    .map_err(|error| format!("is {shown}, which cannot be read: {error}"))?;
                in_profile(&text, profile).ok_or_else(|| {
                    format!(
                        "is {shown}, which has no aws_access_key_id and aws_secret_access_key in a part [{profile}]"
                    )
                })
            }
        }
    }
}

/// The credentials in a part of a file: `[part]`, then lines `key = value`.
fn in_profile(text: &str, profile: &str) -> Option<Credentials> {
    let mut within = false;
    let (mut id, mut secret, mut token) = (None, None, None);
    for line in text.lines().map(str::trim).filter(|line| !line.starts_with(['#', ';'])) {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            within = name.trim() == profile;
        } else if within && let Some((key, value)) = line.split_once('=') {
            let value = Some(value.trim().to_owned()).filter(|value| !value.is_empty());
            match key.trim() {
                "aws_access_key_id" => id = value,
                "aws_secret_access_key" => secret = value,
                "aws_session_token" => token = value,
                _ => {}
            }
        }
    }
    Some(Credentials { access_key_id: id?, secret_access_key: secret?, session_token: token })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const FILE: &str = "# ours\n[default]\naws_access_key_id = one\naws_secret_access_key=hidden-1\n\n\
                        [other]\naws_secret_access_key = hidden-2=\naws_access_key_id = two\naws_session_token = t\n";

    fn storage(credentials_file: Option<PathBuf>) -> ObjectStorage {
        let url = "s3://spans".to_owned();
        ObjectStorage { url, endpoint: None, region: None, credentials_file, after: Duration::ZERO }
    }

    fn ids(source: &Source) -> (String, Option<String>) {
        let credentials = source.read().expect("credentials");
        (credentials.access_key_id, credentials.session_token)
    }

    #[test]
    fn a_file_that_is_named_wins_then_the_environment_then_the_file_that_it_names() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), FILE).expect("written");
        let named = file.path().display().to_string();
        let environment = |set: &'static [(&str, &str)]| {
            let named = named.clone();
            move |name: &str| match set.iter().find(|(known, _)| *known == name) {
                Some((_, "FILE")) => Some(named.clone()),
                found => found.map(|(_, value)| (*value).to_owned()),
            }
        };
        let keys =
            &[("AWS_ACCESS_KEY_ID", "three"), ("AWS_SECRET_ACCESS_KEY", "s"), ("AWS_PROFILE", "other")];
        let found = Source::find(&storage(Some(file.path().to_owned())), environment(keys)).expect("a file");
        assert_eq!(ids(&found), ("two".to_owned(), Some("t".to_owned())));
        let found = Source::find(&storage(None), environment(keys)).expect("keys");
        assert_eq!(ids(&found), ("three".to_owned(), None));
        let shared = environment(&[("AWS_SHARED_CREDENTIALS_FILE", "FILE"), ("AWS_ACCESS_KEY_ID", "")]);
        let found = Source::find(&storage(None), shared).expect("a shared file");
        assert_eq!(ids(&found), ("one".to_owned(), None));
        std::fs::write(file.path(), FILE.replace("one", "replaced")).expect("written");
        assert_eq!(ids(&found).0, "replaced", "it is read anew");
    }

    #[test]
    fn what_is_missing_is_said_by_field_and_secrets_never() {
        let none = Source::find(&storage(None), |_| None).expect_err("none");
        assert!(none.to_string().contains("AWS_ACCESS_KEY_ID"), "{none}");
        let missing = Source::find(&storage(Some("/no/such/file".into())), |_| None).expect_err("missing");
        assert!(missing.to_string().starts_with("credentials_file is /no/such/file"), "{missing}");
        let shown = format!("{:?}", in_profile(FILE, "other"));
        assert!(shown.contains("two") && !shown.contains("hidden"), "{shown}");
        assert_eq!(in_profile("[default]\naws_access_key_id = a\n", "default"), None);
    }
}
