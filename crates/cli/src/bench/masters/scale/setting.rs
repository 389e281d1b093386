use clap::ValueEnum;
use serde::Serialize;

use super::super::options::Scale;

/// What one point is measured with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Setting {
    pub(super) masters: u16,
    pub(super) entities: u64,
    /// The bytes of a value.
    pub(super) size: u32,
    /// Of a hundred writes, how many are concurrent with writes of all other masters to the same key.
    pub(super) conflict_percent: u32,
    /// How many concurrent values an entity has when it is updated.
    pub(super) siblings: u32,
}

/// What varies, while the rest stays at the base.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Series {
    /// How many masters there are
    Masters,
    /// How many entities each master holds
    Entities,
    /// The bytes of a value
    Size,
    /// The share of writes that are concurrent with others to the same key
    Conflicts,
    /// How many concurrent values the entity has that is updated
    Siblings,
}

const MASTERS: [u16; 4] = [3, 10, 30, 100];
const ENTITIES: [u64; 5] = [1_000, 10_000, 100_000, 1_000_000, 10_000_000];
const SIZES: [u32; 4] = [16, 256, 4_096, 65_536];
const CONFLICT_PERCENTS: [u32; 4] = [0, 25, 50, 100];
const SIBLINGS: [u32; 5] = [1, 2, 4, 8, 16];

impl Setting {
    /// What stays as it is while something else varies.
    pub(super) fn base(options: &Scale) -> Setting {
        let entities = options.max_entities.min(10_000);
        Setting { masters: MASTERS[0], entities, size: SIZES[0], conflict_percent: 0, siblings: 1 }
    }
}

impl Series {
    /// What is measured, as far as the options allow.
    pub(super) fn settings(self, options: &Scale) -> Vec<Setting> {
        let base = Setting::base(options);
        match self {
            Series::Masters => MASTERS.map(|masters| Setting { masters, ..base }).to_vec(),
            Series::Entities => ENTITIES.map(|entities| Setting { entities, ..base }).to_vec(),
            Series::Size => SIZES.map(|size| Setting { size, ..base }).to_vec(),
            Series::Conflicts => {
                CONFLICT_PERCENTS.map(|conflict_percent| Setting { conflict_percent, ..base }).to_vec()
            }
            Series::Siblings => SIBLINGS.map(|siblings| Setting { siblings, ..base }).to_vec(),
        }
        .into_iter()
        .filter(|setting| setting.masters <= options.max_masters && setting.entities <= options.max_entities)
        .collect()
    }

    /// What varies of a setting.
    pub(super) fn of(self, setting: &Setting) -> u64 {
        match self {
            Series::Masters => setting.masters.into(),
            Series::Entities => setting.entities,
            Series::Size => setting.size.into(),
            Series::Conflicts => setting.conflict_percent.into(),
            Series::Siblings => setting.siblings.into(),
        }
    }

    pub(super) fn title(self) -> &'static str {
        match self {
            Series::Masters => "masters",
            Series::Entities => "entities",
            Series::Size => "bytes of a value",
            Series::Conflicts => "% of writes in conflict",
            Series::Siblings => "siblings of the entity",
        }
    }

    /// How many times as much as at the base the last point may cost at most, where the project has a goal.
    pub(super) fn goal(self) -> Option<f64> {
        match self {
            Series::Masters => Some(1.5),
            Series::Entities => Some(2.0),
            Series::Size | Series::Conflicts | Series::Siblings => None,
        }
    }
}
