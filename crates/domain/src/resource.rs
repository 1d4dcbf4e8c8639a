//! What is watched or changed, and how it is named.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Why a name was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Not lower-case letters, digits and inner dashes.
    #[error(
        "{text:?} is no valid name: use 1 to 40 lower-case letters, digits and dashes, starting with a letter and not ending in a dash"
    )]
    Malformed {
        /// What was given.
        text: String,
    },
    /// Not `NAME-N`.
    #[error("{text:?} is no instance: write the name of a service and a number, such as cart-0")]
    NoInstance {
        /// What was given.
        text: String,
    },
    /// Not `FROM->TO`.
    #[error("{text:?} is no link: write the names of two services, such as front->cart")]
    NoLink {
        /// What was given.
        text: String,
    },
    /// Not `kind/name`.
    #[error(
        "{text:?} names no resource: write service/NAME, instance/NAME-N, volume/NAME-N, link/FROM->TO, node/NAME or infrastructure/NAME"
    )]
    UnknownResource {
        /// What was given.
        text: String,
    },
}

/// The name of a service: lower-case letters, digits and inner dashes, at most 40 characters.
///
/// Every name of an instance, a volume or a link holds one, and every look at a fleet copies hundreds, so
/// clones share their text.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ServiceName(Arc<str>);

impl Ord for ServiceName {
    fn cmp(&self, other: &Self) -> Ordering {
        if Arc::ptr_eq(&self.0, &other.0) { Ordering::Equal } else { self.0.cmp(&other.0) }
    }
}

impl PartialOrd for ServiceName {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl ServiceName {
    /// Checks and takes a name.
    ///
    /// # Errors
    ///
    /// Where it is longer than 40 bytes, or no lower-case letter followed by lower-case letters, digits and inner hyphens.
    pub fn new(text: impl Into<String>) -> Result<Self, NameError> {
        let text = text.into();
        let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let valid = text.len() <= 40
            && text.starts_with(|c: char| c.is_ascii_lowercase())
            && text.chars().all(inner)
            && !text.ends_with('-');
        if valid { Ok(Self(text.into())) } else { Err(NameError::Malformed { text }) }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The instance of this service in slot `ordinal`.
    pub fn instance(&self, ordinal: u32) -> InstanceName {
        InstanceName { service: self.clone(), ordinal }
    }
}

/// One slot of a service: `cart-0`. The slot stays, the process in it changes (see [`Incarnation`]). The
/// specification calls it pod.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct InstanceName {
    /// The service it belongs to.
    pub service: ServiceName,
    /// Its slot, counted from 0.
    pub ordinal: u32,
}

/// The path from one service to another it depends on: `front->cart`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LinkName {
    /// The caller.
    pub from: ServiceName,
    /// The callee.
    pub to: ServiceName,
}

impl LinkName {
    /// The caller's name on links from outside to a published service; no service may have it.
    pub const OUTSIDE: &str = "outside";

    /// The link through which a published service is reached from outside: `outside->front`.
    pub fn from_outside(to: ServiceName) -> Self {
        Self { from: ServiceName(Self::OUTSIDE.into()), to }
    }
}

/// Names one resource of any kind. In text `service/cart`, `instance/cart-0`, `volume/cart-0`,
/// `link/front->cart`, `node/local`, `infrastructure/shop`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum ResourceId {
    /// A declared service.
    Service(ServiceName),
    /// One instance of a service.
    Instance(InstanceName),
    /// The data directory of an instance.
    Volume(InstanceName),
    /// The path between two services.
    Link(LinkName),
    /// A machine.
    Node(ServiceName),
    /// A declared set of services, as a whole.
    Infrastructure(ServiceName),
}

impl ResourceId {
    /// The service this resource belongs to: for a link the callee; `None` for a node and an
    /// Infrastructure.
    pub fn service(&self) -> Option<&ServiceName> {
        match self {
            Self::Service(service) => Some(service),
            Self::Instance(instance) | Self::Volume(instance) => Some(&instance.service),
            Self::Link(link) => Some(&link.to),
            Self::Node(_) | Self::Infrastructure(_) => None,
        }
    }

    /// The instance this resource is or belongs to, where it is one of one instance.
    pub fn instance(&self) -> Option<&InstanceName> {
        match self {
            Self::Instance(instance) | Self::Volume(instance) => Some(instance),
            _ => None,
        }
    }
}

/// One process in a slot. Two incarnations are never equal, also across reboots and reused process ids.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Incarnation {
    /// The kernel's boot id.
    pub boot_id: String,
    /// The process id.
    pub pid: u32,
    /// The start time of the process in clock ticks since boot (`/proc/PID/stat`, field 22).
    pub start_ticks: u64,
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for InstanceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.service, self.ordinal)
    }
}

impl fmt::Display for LinkName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}->{}", self.from, self.to)
    }
}

impl fmt::Display for ResourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Service(name) => write!(f, "service/{name}"),
            Self::Instance(name) => write!(f, "instance/{name}"),
            Self::Volume(name) => write!(f, "volume/{name}"),
            Self::Link(name) => write!(f, "link/{name}"),
            Self::Node(name) => write!(f, "node/{name}"),
            Self::Infrastructure(name) => write!(f, "infrastructure/{name}"),
        }
    }
}

impl FromStr for ServiceName {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::new(text)
    }
}

impl FromStr for InstanceName {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let error = || NameError::NoInstance { text: text.to_owned() };
        let (service, ordinal) = text.rsplit_once('-').ok_or_else(error)?;
        let read: u32 = ordinal.parse().map_err(|_| error())?;
        // `cart-07` and `cart-+7` would be other names of `cart-7`.
        if read.to_string() != ordinal {
            return Err(error());
        }
        Ok(Self { service: service.parse()?, ordinal: read })
    }
}

impl FromStr for LinkName {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let (from, to) = text.split_once("->").ok_or_else(|| NameError::NoLink { text: text.to_owned() })?;
        Ok(Self { from: from.parse()?, to: to.parse()? })
    }
}

impl FromStr for ResourceId {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let unknown = || NameError::UnknownResource { text: text.to_owned() };
        let (kind, name) = text.split_once('/').ok_or_else(unknown)?;
        match kind {
            "service" => name.parse().map(Self::Service),
            "instance" => name.parse().map(Self::Instance),
            "volume" => name.parse().map(Self::Volume),
            "link" => name.parse().map(Self::Link),
            "node" => name.parse().map(Self::Node),
            "infrastructure" => name.parse().map(Self::Infrastructure),
            _ => Err(unknown()),
        }
    }
}

macro_rules! text_serde {
    ($($name:ident),*) => {$(
        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                text.parse()
            }
        }
        impl From<$name> for String {
            fn from(value: $name) -> String {
                value.to_string()
            }
        }
    )*};
}
text_serde!(ServiceName, InstanceName, LinkName, ResourceId);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_resource_reads_back_what_it_shows() {
        for text in [
            "service/cart",
            "instance/cart-0",
            "volume/my-cart-12",
            "link/front->cart",
            "node/local",
            "infrastructure/shop",
        ] {
            assert_eq!(text.parse::<ResourceId>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn names_that_could_escape_a_path_are_refused() {
        for text in ["", "../etc", "Cart", "a/b", "a b", "-a", "a-", "9a", "a\n"] {
            assert!(ServiceName::new(text).is_err(), "{text:?}");
        }
        assert!("service".parse::<ResourceId>().is_err());
        assert!("planet/earth".parse::<ResourceId>().is_err());
        for text in ["instance/cart-07", "instance/cart-+7", "instance/cart-4294967296", "instance/cart-"] {
            assert!(text.parse::<ResourceId>().is_err(), "an instance has one name: {text:?}");
        }
    }
}
