//! Where a mutation changes what the code does, in one short line each.

/// True while this thread makes the mistake of that name.
#[cfg(feature = "mutations")]
#[doc(hidden)]
#[macro_export]
macro_rules! mutated {
    ($mutation:ident) => {
        $crate::mutation::Mutation::$mutation.is_made()
    };
}

/// False: without the feature `mutations` there are none, and nothing of them is compiled.
#[cfg(not(feature = "mutations"))]
#[doc(hidden)]
#[macro_export]
macro_rules! mutated {
    ($mutation:ident) => {
        false
    };
}
