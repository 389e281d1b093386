use archipelago::Value;

use super::records::Record;

/// Islands and their countries, out of many archipelagos.
const ISLANDS: [(&str, &str); 60] = [
    ("Skye", "Scotland"),
    ("Islay", "Scotland"),
    ("Mull", "Scotland"),
    ("Orkney", "Scotland"),
    ("Unst", "Scotland"),
    ("Anglesey", "Wales"),
    ("Lundy", "England"),
    ("Inishmore", "Ireland"),
    ("Texel", "Netherlands"),
    ("Terschelling", "Netherlands"),
    ("Sylt", "Germany"),
    ("Rügen", "Germany"),
    ("Helgoland", "Germany"),
    ("Bornholm", "Denmark"),
    ("Gotland", "Sweden"),
    ("Öland", "Sweden"),
    ("Åland", "Finland"),
    ("Saaremaa", "Estonia"),
    ("Hiiumaa", "Estonia"),
    ("Senja", "Norway"),
    ("Lofoten", "Norway"),
    ("Heimaey", "Iceland"),
    ("Streymoy", "Faroe Islands"),
    ("Ushant", "France"),
    ("Oléron", "France"),
    ("Corsica", "France"),
    ("Elba", "Italy"),
    ("Capri", "Italy"),
    ("Lipari", "Italy"),
    ("Sardinia", "Italy"),
    ("Gozo", "Malta"),
    ("Hvar", "Croatia"),
    ("Brač", "Croatia"),
    ("Corfu", "Greece"),
    ("Naxos", "Greece"),
    ("Paros", "Greece"),
    ("Samos", "Greece"),
    ("Menorca", "Spain"),
    ("Ibiza", "Spain"),
    ("La Palma", "Spain"),
    ("El Hierro", "Spain"),
    ("Madeira", "Portugal"),
    ("Pico", "Portugal"),
    ("Faial", "Portugal"),
    ("Santo Antão", "Cabo Verde"),
    ("Zanzibar", "Tanzania"),
    ("Praslin", "Seychelles"),
    ("Rodrigues", "Mauritius"),
    ("Lamu", "Kenya"),
    ("Lombok", "Indonesia"),
    ("Flores", "Indonesia"),
    ("Palawan", "Philippines"),
    ("Siargao", "Philippines"),
    ("Yakushima", "Japan"),
    ("Ishigaki", "Japan"),
    ("Jeju", "South Korea"),
    ("Tasmania", "Australia"),
    ("Waiheke", "New Zealand"),
    ("Chiloé", "Chile"),
    ("Nantucket", "United States"),
];

/// What there is on each island: the kind, the rest of its name, and who keeps it.
const PLACES: [(&str, &str, &str); 5] = [
    ("harbour", "Harbour", "the harbour master"),
    ("lighthouse", "Lighthouse", "the keeper of the light"),
    ("ferry", "Ferry", "the ferry company"),
    ("station", "Weather Station", "the weather service"),
    ("market", "Fish Market", "the cooperative"),
];

/// The records of a run without a file: five places on each of sixty islands.
pub(crate) fn records() -> Vec<Record> {
    let mut records = Vec::with_capacity(ISLANDS.len() * PLACES.len());
    for (at, (island, country)) in (1u32..).zip(ISLANDS) {
        for (kind, rest, keeper) in PLACES {
            let id = format!("{kind}/{}", island.to_lowercase().replace(' ', "-"));
            let fields = [
                ("id", Value::from(id.as_str())),
                ("name", Value::from(format!("{island} {rest}"))),
                ("country", Value::from(country)),
                ("kept_by", Value::from(keeper)),
                ("status", Value::from("open")),
                ("built", Value::from(1_780 + at * 37 % 220)),
            ];
            let value = Value::Map(fields.map(|(name, value)| (name.to_owned(), value)).into());
            records.push(Record { id, value });
        }
    }
    records
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_record_has_an_id_of_its_own() {
        let records = records();
        let ids: BTreeSet<_> = records.iter().map(|record| &record.id).collect();
        assert_eq!((records.len(), ids.len()), (300, 300));
    }
}
