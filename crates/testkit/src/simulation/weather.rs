/// How often what breaks. Each number is how many times in a run of average length, in hundredths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Weather {
    /// The least and the greatest number of replicas at first.
    pub replicas: (usize, usize),
    /// The least and the greatest number of writes.
    pub writes: (u64, u64),
    /// How long things break, in milliseconds.
    pub lasts_ms: (u64, u64),
    /// Of a thousand messages, how many may be lost, or come twice; the greatest rates.
    pub loss_permille: u64,
    /// How many batches also go straight to another replica, of a thousand at most.
    pub gossip_permille: u64,
    /// Cuts of one way, and partitions.
    pub cuts: u64,
    /// Processes that are killed, in a commit or not.
    pub kills: u64,
    /// Losses of power.
    pub power_losses: u64,
    /// Disks that are lost, restored from a copy, or copied while they are in use.
    pub disks: u64,
    /// Disks that are full for a while.
    pub full_disks: u64,
    /// Processes that are slow for a while.
    pub slow: u64,
    /// Clocks that jump or stand still.
    pub clocks: u64,
    /// Brokers that restart or lose acknowledgements.
    pub broker: u64,
    /// Logs that lose their tail, their head, or everything.
    pub log: u64,
    /// Replicas that join, leave, or are given up.
    pub members: u64,
    /// Runs of a hundred in which some replicas are of an older build.
    pub old_builds: u64,
}

impl Weather {
    /// Nothing breaks, and messages take their time.
    pub fn calm() -> Self {
        Weather {
            replicas: (3, 7),
            writes: (40, 160),
            lasts_ms: (10_000, 30_000),
            loss_permille: 0,
            gossip_permille: 0,
            cuts: 0,
            kills: 0,
            power_losses: 0,
            disks: 0,
            full_disks: 0,
            slow: 0,
            clocks: 0,
            broker: 0,
            log: 0,
            members: 0,
            old_builds: 0,
        }
    }

    /// Messages are lost, late, doubled, and ways are cut.
    pub fn network() -> Self {
        Weather { loss_permille: 150, gossip_permille: 300, cuts: 600, slow: 200, ..Self::calm() }
    }

    /// Processes die, disks are lost, full, copied and restored.
    pub fn machines() -> Self {
        Weather {
            kills: 500,
            power_losses: 200,
            disks: 150,
            full_disks: 150,
            slow: 100,
            old_builds: 15,
            ..Self::calm()
        }
    }

    /// The broker restarts and loses what it had acknowledged.
    pub fn broker() -> Self {
        Weather { broker: 400, log: 300, ..Self::calm() }
    }

    /// Clocks are off.
    pub fn clocks() -> Self {
        Weather { clocks: 500, ..Self::calm() }
    }

    /// Replicas join, leave, are given up and come back, and are cut off long enough to be missed.
    pub fn members() -> Self {
        Weather {
            replicas: (3, 5),
            gossip_permille: 100,
            cuts: 500,
            disks: 50,
            log: 100,
            members: 500,
            ..Self::calm()
        }
    }

    /// Everything at once.
    pub fn mixed() -> Self {
        Weather {
            loss_permille: 100,
            gossip_permille: 200,
            cuts: 250,
            kills: 200,
            power_losses: 80,
            disks: 60,
            full_disks: 50,
            slow: 80,
            clocks: 120,
            broker: 120,
            log: 80,
            members: 120,
            old_builds: 10,
            ..Self::calm()
        }
    }
}
