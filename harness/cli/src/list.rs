//! `tearproof list`: what there is.

use tearproof_reports::list;
use tearproof_reports::terminal::Style;

use crate::Outcome;
use crate::args::Listed;
use crate::run::terminal_width;
use crate::schedule::built_in;
use crate::stdout::print;

/// Prints one of the lists.
pub fn list(what: Listed, color: bool) -> Outcome {
    let style = Style { width: terminal_width(), color };
    let text = match what {
        Listed::Scenarios => list::scenarios(&built_in()?, style),
        Listed::Strategies => {
            list::strategies(tearproof_scenarios::strategies().iter().map(|strategy| strategy.info()), style)
        }
        Listed::Guarantees => list::guarantees(style),
    };
    print(&text)?;
    Ok(0)
}
