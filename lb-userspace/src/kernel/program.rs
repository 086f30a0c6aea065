//! The programs of the kernel object, and what each is called.

use lb_common::abi::Stage;

/// The object's programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// The balancer, which every packet comes to first.
    Balance,
    /// The guard, in the balancer's place where any guard is on.
    Guard,
    /// A program that the balancer or the guard leaves packets to.
    Stage(Stage),
    /// The backend side of `dsr-ipip`.
    Decap,
    /// Lets everything pass, for the far end of a veth pair.
    Pass,
    /// Returns the kernel's tick count; never attached.
    Clock,
    /// Writes to tables that the others address directly; never attached.
    Write,
}

impl Program {
    /// Every program.
    pub const ALL: [Self; 10 + Stage::ALL.len()] = {
        let mut all = [Self::Balance; 10 + Stage::ALL.len()];
        let mut place = 0;
        while place < Stage::ALL.len() {
            all[1 + place] = Self::Stage(Stage::ALL[place]);
            place += 1;
        }
        all[1 + place] = Self::Decap;
        all[2 + place] = Self::Pass;
        all[3 + place] = Self::Clock;
        all[4 + place] = Self::Write;
        all[5 + place] = Self::Guard;
        all[6 + place] = Self::Stage(Stage::GuardV4);
        all[7 + place] = Self::Stage(Stage::GuardV6);
        all[8 + place] = Self::Stage(Stage::CookieV4);
        all[9 + place] = Self::Stage(Stage::CookieV6);
        all
    };

    /// Whether it sends packets out again.
    #[must_use]
    pub const fn sends(self) -> bool {
        matches!(self, Self::Balance | Self::Guard)
    }

    /// The name of its counterpart for TC, if it has one.
    pub(super) const fn tc_name(self) -> Option<&'static str> {
        match self {
            Self::Balance => Some("lbtc_balance"),
            Self::Guard => Some("lbtc_guard"),
            Self::Stage(stage) => stage.tc_program(),
            Self::Decap => Some("lbtc_decap"),
            Self::Pass | Self::Clock | Self::Write => None,
        }
    }

    /// The names of all those for TC of which one may be in the place of another.
    pub(super) const fn tc_names(self) -> &'static [&'static str] {
        match self {
            Self::Balance | Self::Guard | Self::Stage(_) => &["lbtc_balance", "lbtc_guard"],
            _ => &["lbtc_decap"],
        }
    }

    /// Its name in the object and in `bpftool prog`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Balance => "lb_balance",
            Self::Guard => "lb_guard",
            Self::Stage(stage) => stage.program(),
            Self::Decap => "lb_decap",
            Self::Pass => "lb_pass",
            Self::Clock => "lb_clock",
            Self::Write => "lb_write",
        }
    }
}
