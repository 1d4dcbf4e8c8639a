//! The tree beside the vectors of certificate-transparency's reference implementation, and its proofs for every size.

use proptest::prelude::{any, proptest};

use super::*;

/// The leaves of `merkle_tree_test` of certificate-transparency, as other implementations use them, too.
const LEAVES: [&[u8]; 8] = [
    b"",
    b"\x00",
    b"\x10",
    b"\x20\x21",
    b"\x30\x31",
    b"\x40\x41\x42\x43",
    b"\x50\x51\x52\x53\x54\x55\x56\x57",
    b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
];

/// The roots over the first 1, 2, … of them, from the same place.
const ROOTS: [&str; 8] = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
];

fn hash(text: &str) -> Hash {
    Hash::from_hex(text).unwrap()
}

fn leaves() -> Vec<Hash> {
    LEAVES.iter().map(|leaf| Hash::of_leaf(leaf)).collect()
}

fn many(size: u32) -> Vec<Hash> {
    (0..size).map(|number| Hash::of_leaf(&number.to_le_bytes())).collect()
}

#[test]
fn roots_are_those_of_certificate_transparency() {
    let mut frontier = Frontier::default();
    assert_eq!(frontier.root(), hash("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"));
    for (leaf, expected) in leaves().into_iter().zip(ROOTS) {
        frontier.push(leaf);
        assert_eq!(frontier.root(), hash(expected), "{}", frontier.size());
    }
}

fn inclusion(leaves: &[Hash], index: usize) -> Option<Vec<Hash>> {
    Tail::new(Frontier::default(), leaves.to_vec()).inclusion(index as u64)
}

fn consistency(leaves: &[Hash], old: usize) -> Option<Vec<Hash>> {
    Tail::new(Frontier::default(), leaves.to_vec()).consistency(old as u64)
}

#[test]
fn a_tree_whose_first_leaves_are_gone_proves_the_rest_as_before() {
    let leaves = many(40);
    for gone in 0..40_u64 {
        let (removed, kept) = leaves.split_at(gone as usize);
        let mut before = Frontier::default();
        removed.iter().for_each(|leaf| before.push(*leaf));
        assert_eq!(Frontier::of(gone, before.peaks().to_vec()).as_ref(), Some(&before));
        for size in gone..=40 {
            let tail = Tail::new(before.clone(), kept[..(size - gone) as usize].to_vec());
            let whole = &leaves[..size as usize];
            for at in 0..=size {
                let expected = inclusion(whole, at as usize).filter(|_| at >= gone);
                assert_eq!(tail.inclusion(at), expected, "{at} of {size} after {gone}");
                if at >= gone {
                    assert_eq!(
                        tail.consistency(at),
                        consistency(whole, at as usize),
                        "{at} of {size} after {gone}"
                    );
                }
            }
        }
    }
}

#[test]
fn paths_are_those_of_certificate_transparency() {
    let path = inclusion(&leaves(), 5).unwrap();
    let expected = [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ];
    assert_eq!(path, expected.map(hash));
    let path = consistency(&leaves()[..7], 3).unwrap();
    assert_eq!(path.len(), 4, "the example of RFC 6962, 2.1.3");
    assert_eq!(path[..2], [leaves()[2], leaves()[3]]);
    assert!(consistent((3, hash(ROOTS[2])), (7, hash(ROOTS[6])), &path));
}

#[test]
fn every_leaf_of_every_small_tree_is_proven_and_no_other() {
    let leaves = many(40);
    for size in 1..=40 {
        let tree = &leaves[..size];
        for index in 0..size {
            let path = inclusion(tree, index).unwrap();
            let holds = |leaf: usize, index: usize, size: usize, path: &[Hash]| {
                included(leaves[leaf], index as u64, size as u64, path, root(tree))
            };
            assert!(holds(index, index, size, &path));
            assert!(!holds((index + 1) % 40, index, size, &path));
            assert!(!holds(index, (index + 1) % size, size, &path) || size == 1);
            let mut longer = path.clone();
            longer.push(Hash::ZERO);
            assert!(!holds(index, index, size, &longer));
            assert!(path.is_empty() || !holds(index, index, size, &path[..path.len() - 1]));
        }
        assert_eq!(inclusion(tree, size), None);
    }
}

#[test]
fn every_beginning_of_every_small_tree_is_proven_and_no_other() {
    let leaves = many(40);
    for new in 0..=40 {
        for old in 0..=new {
            let path = consistency(&leaves[..new], old).unwrap();
            let (before, after) = (root(&leaves[..old]), root(&leaves[..new]));
            let holds =
                |before, after, path: &[Hash]| consistent((old as u64, before), (new as u64, after), path);
            assert!(holds(before, after, &path), "{old} of {new}");
            assert!(!holds(Hash::ZERO, after, &path));
            // Of the empty tree nothing is known but that everything begins with it.
            assert!(old == 0 || !holds(before, Hash::ZERO, &path));
            let mut longer = path.clone();
            longer.push(Hash::ZERO);
            assert!(!holds(before, after, &longer));
        }
        assert_eq!(consistency(&leaves[..new], new + 1), None);
    }
}

proptest! {
    #[test]
    fn a_hash_reads_back(bytes in any::<[u8; 32]>()) {
        assert_eq!(Hash::from_hex(&Hash(bytes).to_string()), Some(Hash(bytes)));
    }

    #[test]
    fn any_path_is_accepted_or_refused(index in 0..100_u64, size in 0..100_u64, length in 0..9_usize) {
        let path = vec![Hash::ZERO; length];
        assert!(!included(Hash::ZERO, index, size, &path, Hash::of_leaf(b"other")));
        let before = Hash::of_leaf(b"before");
        assert!(!consistent((index, before), (size, Hash::of_leaf(b"after")), &path));
    }
}
