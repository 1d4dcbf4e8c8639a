//! Who takes a share of what is there for everybody.
//!
//! In: who asks, and from where. Out: one name for what belongs to one who asks: an identity, whatever it is proven by and however
//! often; where none was proven, the address, of IPv6 the network of 64 bits that one customer has.

use std::net::IpAddr;

use domain::{Identity, Proof};

use crate::access::source_of;

/// One who asks.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Asker {
    /// Who proved who they are: a user, a token, or the token of the data directory.
    Named(String),
    /// Whoever asks from there.
    From(IpAddr),
}

impl Asker {
    pub(crate) fn of(identity: &Identity, peer: IpAddr) -> Self {
        match identity.proof {
            Proof::None => Self::From(source_of(peer)),
            Proof::Token | Proof::Session => Self::Named(identity.name.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use domain::{AnonymousReads, Role};

    use super::*;

    #[test]
    fn who_is_named_is_one_from_everywhere_and_who_is_not_is_one_network() {
        let ada = Identity::proven("ada", Proof::Session, vec![Role::Viewer], None);
        let nobody = Identity::anonymous(AnonymousReads::Allowed);
        let of = |identity: &Identity, from: &str| Asker::of(identity, from.parse().unwrap());
        assert_eq!(of(&ada, "192.0.2.1"), of(&ada, "2001:db8::1"));
        assert_ne!(of(&ada, "192.0.2.1"), of(&nobody, "192.0.2.1"));
        assert_ne!(of(&nobody, "192.0.2.1"), of(&nobody, "192.0.2.2"));
        assert_eq!(of(&nobody, "2001:db8::1"), of(&nobody, "2001:db8::ffff:2"));
        assert_ne!(of(&nobody, "2001:db8::1"), of(&nobody, "2001:db8:0:1::1"));
        assert_eq!(of(&nobody, "::ffff:192.0.2.1"), of(&nobody, "192.0.2.1"));
        assert_ne!(of(&nobody, "::1"), of(&nobody, "::2"), "this machine is no network of others");
    }
}
