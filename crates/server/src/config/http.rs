use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
};

use super::section::section;

section! {
    /// How this node is reached, and the limits of that.
    HttpSection {
        /// The address and port to listen at. On a loopback address nobody needs a token, unless there are some; on any
        /// other one, everything but the health of the node does.
        listen: SocketAddr = SocketAddr::from((Ipv4Addr::LOCALHOST, 7070)), "\"0.0.0.0:7070\"";
        /// Where clients reach this node, http:// or https://; a follower names the address of the leader when it refuses a
        /// write. If it is not given: where the node listens, unless that is every address of the machine.
        advertise: Option<String> = None, "\"https://us-east.example.com:7070\"";
        /// The certificate chain of the node, PEM. With it and its key the node speaks TLS only.
        tls_certificate: Option<PathBuf> = None, "\"/etc/archipelago/node.pem\"";
        /// The private key of the certificate, PEM.
        tls_key: Option<PathBuf> = None, "\"/etc/archipelago/node.key\"";
        /// The most connections at a time; further ones wait to be accepted.
        connections_max: usize = 1_024, "4096";
        /// How long a client may take to send the head of a request, or to shake hands.
        header_timeout_ms: u64 = 10_000, "5000";
        /// How long a request may take, its body included; streams of changes are exempt.
        request_timeout_ms: u64 = 30_000, "60000";
        /// The largest body of a request, in bytes.
        body_bytes_max: usize = 1_048_576, "4194304";
        /// The most operations in one batch.
        batch_operations_max: usize = 256, "1000";
        /// The most entities on one page of a list.
        page_entities_max: usize = 1_000, "100";
        /// The longest that a request may ask to wait for a session or an acknowledgement.
        wait_ms_max: u64 = 10_000, "20000";
        /// The most streams of changes at a time.
        streams_max: usize = 256, "10000";
        /// How long a client of a stream of changes may take to read before it is cut off.
        stream_stall_timeout_ms: u64 = 30_000, "10000";
    }
}
