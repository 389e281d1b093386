use std::ops::Range;

/// A part of an old text, in bytes, and what takes its place.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Hunk<'n> {
    pub(super) range: Range<usize>,
    pub(super) text: &'n str,
}

/// Beyond so many differing characters the text between the first and the last difference counts as replaced.
const DIFFERENCES_MAX: usize = 400;

/// The fewest insertions and deletions of characters that make `new` of `old`, in ascending order, none of them next to
/// another.
///
/// Myers, *An O(ND) difference algorithm and its variations*, Algorithmica 1, 1986.
pub(super) fn hunks<'n>(old: &str, new: &'n str) -> Vec<Hunk<'n>> {
    let same = old.chars().zip(new.chars()).take_while(|(one, other)| one == other);
    let front: usize = same.map(|(character, _)| character.len_utf8()).sum();
    let (old_rest, new_rest) = (&old[front..], &new[front..]);
    let same = old_rest.chars().rev().zip(new_rest.chars().rev()).take_while(|(one, other)| one == other);
    let back: usize = same.map(|(character, _)| character.len_utf8()).sum();
    let (old_middle, new_middle) = (&old_rest[..old_rest.len() - back], &new_rest[..new_rest.len() - back]);
    if old_middle.is_empty() && new_middle.is_empty() {
        return Vec::new();
    }
    let replaced = || vec![Hunk { range: front..front + old_middle.len(), text: new_middle }];
    if old_middle.is_empty() || new_middle.is_empty() {
        return replaced();
    }
    shortest(old_middle, new_middle, front).unwrap_or_else(replaced)
}

fn shortest<'n>(old: &str, new: &'n str, front: usize) -> Option<Vec<Hunk<'n>>> {
    let (a, b): (Vec<char>, Vec<char>) = (old.chars().collect(), new.chars().collect());
    let (n, m) = (a.len(), b.len());
    let most = DIFFERENCES_MAX.min(n + m);
    // How far in `old` the differences so far get on each diagonal, which is how much further that is than in `new`:
    // the diagonal -most - 1 comes first.
    let mut reached = vec![0usize; 2 * most + 3];
    let mut history = Vec::new();
    for differences in 0..=most {
        history.push(reached.clone());
        for diagonal in (0..=2 * differences).step_by(2).map(|above| most + 1 - differences + above) {
            let mut x = reached[came_from(&reached, diagonal, differences, most)];
            if came_from(&reached, diagonal, differences, most) < diagonal {
                x += 1;
            }
            let mut y = (x + most + 1).saturating_sub(diagonal);
            while x < n && y < m && a[x] == b[y] {
                (x, y) = (x + 1, y + 1);
            }
            reached[diagonal] = x;
            if x >= n && y >= m {
                return Some(trace(&history, (old, n), (new, m), front));
            }
        }
    }
    None
}

/// From which neighbouring diagonal the path of so many differences that gets furthest comes: the one above inserts, the
/// one below deletes.
fn came_from(reached: &[usize], diagonal: usize, differences: usize, most: usize) -> usize {
    let (lowest, highest) = (most + 1 - differences, most + 1 + differences);
    if diagonal == lowest || (diagonal != highest && reached[diagonal - 1] < reached[diagonal + 1]) {
        diagonal + 1
    } else {
        diagonal - 1
    }
}

fn trace<'n>(
    history: &[Vec<usize>],
    (old, n): (&str, usize),
    (new, m): (&'n str, usize),
    front: usize,
) -> Vec<Hunk<'n>> {
    let bytes = |text: &str| text.char_indices().map(|(at, _)| at).chain([text.len()]).collect::<Vec<_>>();
    let (old_bytes, new_bytes) = (bytes(old), bytes(new));
    let most = history.first().map_or(0, |reached| (reached.len() - 3) / 2);
    let (mut x, mut y) = (n, m);
    let mut edits: Vec<(Range<usize>, Range<usize>)> = Vec::new();
    for (differences, reached) in history.iter().enumerate().skip(1).rev() {
        let diagonal = x + most + 1 - y;
        let from = came_from(reached, diagonal, differences, most);
        let before_x = reached[from];
        let before_y = before_x + most + 1 - from;
        let (end_x, end_y) =
            if from < diagonal { (before_x + 1, before_y) } else { (before_x, before_y + 1) };
        match edits.last_mut() {
            Some((range, inserted)) if (range.start, inserted.start) == (end_x, end_y) => {
                (range.start, inserted.start) = (before_x, before_y);
            }
            _ => edits.push((before_x..end_x, before_y..end_y)),
        }
        (x, y) = (before_x, before_y);
    }
    let hunk = |(range, inserted): (Range<usize>, Range<usize>)| Hunk {
        range: front + old_bytes[range.start]..front + old_bytes[range.end],
        text: &new[new_bytes[inserted.start]..new_bytes[inserted.end]],
    };
    edits.into_iter().rev().map(hunk).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn applied(old: &str, hunks: &[Hunk<'_>]) -> String {
        let mut text = old.to_owned();
        hunks.iter().rev().for_each(|hunk| text.replace_range(hunk.range.clone(), hunk.text));
        text
    }

    /// The least number of insertions and deletions, by the table of all beginnings.
    fn distance(old: &str, new: &str) -> usize {
        let new: Vec<char> = new.chars().collect();
        let mut row: Vec<usize> = (0..=new.len()).collect();
        for (x, character) in old.chars().enumerate() {
            let mut next = vec![x + 1];
            for (y, other) in new.iter().enumerate() {
                let either = row[y + 1].min(next[y]) + 1;
                next.push(if character == *other { row[y] } else { either });
            }
            row = next;
        }
        row[new.len()]
    }

    #[test]
    fn edits_far_apart_stay_apart() {
        let hunks = hunks("one two three", "on two threeé!");
        assert_eq!(hunks, [Hunk { range: 2..3, text: "" }, Hunk { range: 13..13, text: "é!" }]);
    }

    #[test]
    fn what_differs_too_much_is_replaced() {
        let (old, new) = ("a".repeat(1_000) + "x", "b".repeat(1_000) + "y");
        assert_eq!(hunks(&old, &new), [Hunk { range: 0..1_001, text: &new }]);
    }

    proptest! {
        #[test]
        fn hunks_are_the_fewest_differences(old in "[abé😀]{0,12}", new in "[abé😀]{0,12}") {
            let hunks = hunks(&old, &new);
            prop_assert_eq!(applied(&old, &hunks), new.clone());
            let changed = |hunk: &Hunk<'_>| old[hunk.range.clone()].chars().count() + hunk.text.chars().count();
            prop_assert_eq!(hunks.iter().map(changed).sum::<usize>(), distance(&old, &new));
            prop_assert!(hunks.windows(2).all(|pair| pair[0].range.end < pair[1].range.start));
        }
    }
}
