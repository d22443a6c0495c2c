//! Finding the rows that a database refuses, by halves: each bad row costs about 2 log2(n) statements, a batch without
//! one costs a single statement.
//!
//! ```text
//! [0..8)! -> [0..4) ok, [4..8)! -> [4..6)! -> [4)! bad, [5) ok; [6..8) ok
//! ```

use std::ops::Range;

/// Which range of rows to try next. Every try runs inside a savepoint: rolled back when it fails, kept when not.
#[derive(Debug)]
pub struct Bisection {
    /// Still to try, the next one last; together with what was kept and refused they are all rows.
    left: Vec<Range<usize>>,
    tried: Option<Range<usize>>,
    refused: Vec<(usize, String)>,
}

impl Bisection {
    /// Over so many rows.
    pub fn new(rows: usize) -> Self {
        let mut left = Vec::with_capacity(1);
        left.push(0..rows);
        left.retain(|range| !range.is_empty());
        Self { left, tried: None, refused: Vec::new() }
    }

    /// The range to try now; the result is told by [`kept`](Self::kept) or [`failed`](Self::failed).
    pub fn next_range(&mut self) -> Option<Range<usize>> {
        self.tried = self.left.pop();
        self.tried.clone()
    }

    /// The last range is written.
    pub fn kept(&mut self) {
        self.tried = None;
    }

    /// The last range failed through a row's fault: halve it, or name the row.
    pub fn failed(&mut self, message: impl Into<String>) {
        let Some(range) = self.tried.take() else { return };
        if range.len() <= 1 {
            self.refused.push((range.start, message.into()));
            return;
        }
        let middle = range.start + range.len() / 2;
        self.left.push(middle..range.end);
        self.left.push(range.start..middle);
    }

    /// The refused rows so far, in order, with the database's words.
    pub fn refused(&self) -> &[(usize, String)] {
        &self.refused
    }

    /// The refused rows, in order.
    pub fn into_refused(self) -> Vec<(usize, String)> {
        self.refused
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rows kept, in order of writing, the refused ones, and the number of statements.
    fn run(rows: usize, bad: &[usize]) -> (Vec<usize>, Vec<usize>, usize) {
        let (mut bisection, mut kept, mut tries) = (Bisection::new(rows), Vec::new(), 0);
        while let Some(range) = bisection.next_range() {
            tries += 1;
            if range.clone().any(|row| bad.contains(&row)) {
                bisection.failed("no");
            } else {
                kept.extend(range);
                bisection.kept();
            }
        }
        (kept, bisection.into_refused().into_iter().map(|(row, _)| row).collect(), tries)
    }

    #[test]
    fn bad_rows_are_named_and_take_no_other_with_them() {
        for rows in 0..20 {
            for first in 0..=rows {
                for second in first..=rows {
                    let bad: Vec<_> = [first, second].into_iter().filter(|row| *row < rows).collect();
                    let (kept, refused, _) = run(rows, &bad);
                    let mut unique = bad.clone();
                    unique.dedup();
                    assert_eq!(refused, unique, "{rows} rows, bad {bad:?}");
                    assert_eq!(kept, (0..rows).filter(|row| !bad.contains(row)).collect::<Vec<_>>());
                }
            }
        }
    }

    #[test]
    fn a_clean_batch_costs_one_statement_and_one_bad_row_two_per_halving() {
        assert_eq!(run(5_000, &[]).2, 1);
        assert_eq!(run(0, &[]).2, 0);
        assert!(run(4_096, &[1_000]).2 <= 1 + 2 * 12);
    }
}
