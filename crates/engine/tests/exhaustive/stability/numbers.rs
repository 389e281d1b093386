use std::{collections::HashMap, fmt::Debug};

/// Things by their numbers: equal ones, as their `Debug` says, have one number. So the `Debug` of what is in here must
/// show all of it.
#[derive(Debug)]
pub(crate) struct Numbers<T> {
    all: Vec<T>,
    numbers: HashMap<String, u32>,
}

impl<T> Default for Numbers<T> {
    fn default() -> Self {
        Numbers { all: Vec::new(), numbers: HashMap::new() }
    }
}

impl<T: Debug> Numbers<T> {
    pub(crate) fn number(&mut self, thing: T) -> u32 {
        let next = u32::try_from(self.all.len()).expect("few");
        let number = *self.numbers.entry(format!("{thing:?}")).or_insert(next);
        if number == next {
            self.all.push(thing);
        }
        number
    }

    pub(crate) fn of(&self, number: u32) -> &T {
        &self.all[number as usize]
    }
}
