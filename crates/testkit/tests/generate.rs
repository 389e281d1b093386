//! The types of the toolkit obey their laws on the states that the generators make.

use archipelago_testkit::{generate, proptest::prelude::*};

macro_rules! lawful {
    ($($module:ident: $type:ty;)+) => {
        $(mod $module {
            use archipelago_crdt::*;
            use archipelago_testkit::{crdt_laws, generate};

            crdt_laws!($type, together: generate::$module());
        })+
    };
}

lawful! {
    gcounters: GCounter<u8>;
    pn_counters: PnCounter<u8>;
    bounded_counters: BoundedCounter<u8>;
    max_registers: MaxRegister<u8>;
    min_registers: MinRegister<u8>;
    mv_registers: MvRegister<char, u8>;
    ew_flags: EwFlag<u8>;
    dw_flags: DwFlag<u8>;
    gsets: GSet<char>;
    two_phase_sets: TwoPhaseSet<char>;
    or_sets: OrSet<char, u8>;
    rw_sets: RwSet<char, u8>;
    lists: List<char, u8>;
}

proptest! {
    #[test]
    fn values_survive_json(value in generate::values()) {
        archipelago_testkit::laws::encoding(&value)?;
    }

    #[test]
    fn dots_lie_in_clocks_that_were_raised_to_them(dot in generate::dots(), clock in generate::vector_clocks()) {
        let mut clock = clock;
        clock.raise(dot.actor, dot.sequence);
        prop_assert!(clock.contains(&dot));
    }
}
