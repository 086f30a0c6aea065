//! Settings that are one of a few words.

/// A setting that is one of a few words.
pub(in crate::config) trait Choice: Copy + 'static {
    /// Every value with its word.
    const WORDS: &'static [(&'static str, Self)];
}

/// Implements [`Choice`], `Display` and a const list of the words from one list, so that the three cannot differ.
macro_rules! words {
    ($type:ty { $($variant:ident = $word:literal),+ $(,)? }) => {
        impl Choice for $type {
            const WORDS: &'static [(&'static str, Self)] = &[$(($word, <$type>::$variant)),+];
        }
        impl $type {
            pub(in crate::config) const CHOICES: &'static [&'static str] = &[$($word),+];
        }
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(match self { $(<$type>::$variant => $word),+ })
            }
        }
    };
}
pub(in crate::config) use words;
