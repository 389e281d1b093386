use archipelago::manager::SnapshotInfo;
use comfy_table::{ContentArrangement, Table, presets};
use serde_json::{Value, json};

/// A snapshot for a machine.
pub(crate) fn json(info: &SnapshotInfo) -> Value {
    json!({
        "name": info.name,
        "namespace": info.namespace,
        "master": info.master_id.to_string(),
        "made_unix_ms": info.made_unix_ms,
        "entities": info.entities,
        "chunks": info.chunks,
        "bytes": info.bytes,
        "raw_bytes": info.raw_bytes,
        "digest": format!("{:032x}", info.digest),
        "state_digest": info.state_digest.map(|digest| format!("{digest:032x}")),
        "vector": info.vector,
    })
}

/// Snapshots for a person; beside each that cannot be read, why.
pub(crate) fn table(snapshots: &[(String, Result<SnapshotInfo, String>)]) -> String {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(["snapshot", "made", "of", "entities", "bytes", "unpacked"]);
    for (name, info) in snapshots {
        match info {
            Ok(info) => table.add_row([
                name.clone(),
                made(info),
                info.master_id.name().to_owned(),
                info.entities.to_string(),
                info.bytes.to_string(),
                info.raw_bytes.to_string(),
            ]),
            Err(reason) => table.add_row([name.clone(), format!("not usable: {reason}")]),
        };
    }
    table.to_string()
}

/// A line about a snapshot, for a person.
pub(crate) fn line(info: &SnapshotInfo) -> String {
    let percent = info.bytes.saturating_mul(100) / info.raw_bytes.max(1);
    format!(
        "{}: {} entities of {} in {} chunks, {} bytes ({percent} % of them unpacked), made {}",
        info.name,
        info.entities,
        info.master_id.name(),
        info.chunks,
        info.bytes,
        made(info)
    )
}

/// The time as people read it, in UTC.
fn made(info: &SnapshotInfo) -> String {
    let stamp = archipelago::clock::Hlc::new(info.made_unix_ms, 0).to_string();
    stamp.get(..19).unwrap_or(&stamp).to_owned()
}
