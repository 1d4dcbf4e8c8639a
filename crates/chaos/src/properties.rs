//! What holds for every drill matrix.
//!
//! In: any bytes. Out: a panic where a property does not hold. The fuzz target of `fuzz/` and the test here
//! run the same function; nothing that ships contains it.

use crate::drill::Matrix;

/// A matrix is read with faults in range and reads back, or the error names the file.
pub fn matrix(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    match Matrix::parse("m.yaml", text) {
        Ok(matrix) => {
            assert!(matrix.rows.iter().all(|row| row.fault.check().is_empty()));
            // JSON is YAML.
            let written = serde_json::to_string(&matrix).unwrap();
            assert_eq!(Matrix::parse("m.json", &written).unwrap(), matrix, "{written}");
        }
        Err(error) => assert!(error.to_string().starts_with("m.yaml: "), "{error}"),
    }
}

#[cfg(test)]
#[path = "../../../fuzz/seeds.rs"]
mod seeds;

#[cfg(test)]
mod tests {
    #[test]
    fn a_matrix_reads_back_or_is_refused() {
        super::seeds::hold("matrix", 300, super::matrix);
    }
}
