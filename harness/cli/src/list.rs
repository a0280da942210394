//! `tearproof list`: what there is.

use tearproof_reports::list;
use tearproof_reports::terminal::Style;
use tearproof_scenarios::definition;

use crate::Outcome;
use crate::args::Listed;
use crate::diagnose::Failure;
use crate::run::terminal_width;

/// Prints one of the lists.
pub fn list(what: Listed, color: bool) -> Outcome {
    let style = Style { width: terminal_width(), color };
    let text = match what {
        Listed::Scenarios => {
            let scenarios: Result<Vec<_>, _> =
                definition::built_in().iter().map(|(name, _)| definition::load_built_in(name)).collect();
            list::scenarios(&scenarios.map_err(|errors| Failure::Usage(Box::new(errors)))?, style)
        }
        Listed::Strategies => {
            list::strategies(tearproof_scenarios::strategies().iter().map(|strategy| strategy.info()), style)
        }
        Listed::Guarantees => list::guarantees(style),
    };
    print!("{text}");
    Ok(0)
}
