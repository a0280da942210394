//! A table that fits: a column of names, and groups of columns which are dealt out over as many
//! bands, one below the other, as the width asks for. A group is never torn apart unless it is
//! wider than a band by itself.

use crate::style::{Ink, Line, Page};

const GUTTER: usize = 2;

/// To which side a column leans.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// One column: its head, one line below the other, and a cell a row.
#[derive(Clone, Debug)]
pub struct Column {
    /// The lines of its head.
    pub head: Vec<Line>,
    /// Its cells.
    pub cells: Vec<Line>,
    /// Its side.
    pub align: Align,
}

impl Column {
    fn columns(&self) -> usize {
        self.head.iter().chain(&self.cells).map(Line::columns).max().unwrap_or(0)
    }

    fn place(&self, line: &Line) -> Line {
        match self.align {
            Align::Left => line.clone().padded(self.columns()),
            Align::Right => line.clone().padded_left(self.columns()),
        }
    }
}

/// Columns that belong together, under a common title.
#[derive(Clone, Debug)]
pub struct Group {
    /// What stands above its columns; may be empty.
    pub title: String,
    /// Its columns.
    pub columns: Vec<Column>,
}

impl Group {
    fn width(&self) -> usize {
        let inner: usize = self.columns.iter().map(|column| column.columns() + GUTTER).sum();
        inner.saturating_sub(GUTTER).max(Line::of(Ink::Plain, &self.title).columns())
    }
}

/// A row: its name, and a heading that stands above it where one part of the table begins.
#[derive(Clone, Debug)]
pub struct Row {
    /// Its name.
    pub name: Line,
    /// The heading above it.
    pub heading: Option<Line>,
}

/// A table.
#[derive(Clone, Debug)]
pub struct Grid {
    /// What the names are.
    pub corner: String,
    /// The rows. Every column has as many cells.
    pub rows: Vec<Row>,
    /// The columns.
    pub groups: Vec<Group>,
}

impl Grid {
    /// Writes it, in as many bands as it takes.
    pub fn write(&self, page: &mut Page) {
        // A name may take two fifths of the line at most, or nothing else would fit beside it.
        let most = page.columns() * 2 / 5;
        let names = self.rows.iter().map(|row| row.name.columns()).max().unwrap_or(0);
        let names = names.max(Line::of(Ink::Plain, &self.corner).columns()).min(most);
        let room = page.columns() - names;
        for (index, band) in self.bands(room).iter().enumerate() {
            if index > 0 {
                page.gap();
            }
            self.write_band(page, names, band);
        }
    }

    fn bands(&self, room: usize) -> Vec<Vec<Group>> {
        let mut bands: Vec<Vec<Group>> = Vec::new();
        let mut used = 0;
        let parts = self.groups.iter().filter(|group| !group.columns.is_empty()).flat_map(|group| {
            // A group that no band can hold is dealt out column by column.
            if group.width() + GUTTER <= room {
                vec![group.clone()]
            } else {
                let title = &group.title;
                let alone = |column: &Column| Group { title: title.clone(), columns: vec![column.clone()] };
                group.columns.iter().map(alone).collect()
            }
        });
        for group in parts {
            let width = group.width() + GUTTER;
            match bands.last_mut() {
                Some(band) if used + width <= room => {
                    used += width;
                    band.push(group);
                }
                _ => {
                    used = width;
                    bands.push(vec![group]);
                }
            }
        }
        bands
    }

    fn write_band(&self, page: &mut Page, names: usize, band: &[Group]) {
        let gutter = " ".repeat(GUTTER);
        let mut head = Vec::new();
        if band.iter().any(|group| !group.title.is_empty()) {
            let mut line = Line::new().padded(names);
            for group in band {
                line.push(Ink::Plain, &gutter);
                line.append(&Line::of(Ink::Strong, &group.title).padded(group.width()));
            }
            head.push(line);
        }
        let columns = || band.iter().flat_map(|group| &group.columns);
        let tall = columns().map(|column| column.head.len()).max().unwrap_or(0);
        for level in 0..tall {
            let corner = if level + 1 == tall { self.corner.as_str() } else { "" };
            let mut line = Line::of(Ink::Strong, corner).padded(names);
            for group in band {
                let mut inner = Line::new();
                for column in &group.columns {
                    // Heads of unequal height stand on the rows.
                    let above = tall - column.head.len();
                    let text = level.checked_sub(above).map_or_else(Line::new, |at| column.head[at].clone());
                    inner.push(Ink::Plain, if inner.columns() > 0 { gutter.as_str() } else { "" });
                    inner.append(&column.place(&text));
                }
                line.push(Ink::Plain, &gutter);
                line.append(&inner.padded(group.width()));
            }
            head.push(line);
        }
        let wide = names + band.iter().map(|group| group.width() + GUTTER).sum::<usize>();
        head.into_iter().for_each(|line| page.line(line));
        page.line(Line::of(Ink::Faint, "─".repeat(wide)));
        for (index, row) in self.rows.iter().enumerate() {
            if let Some(heading) = &row.heading {
                page.line(heading.clone());
            }
            let mut line = row.name.clone().cut(names).padded(names);
            for group in band {
                let mut inner = Line::new();
                for column in &group.columns {
                    inner.push(Ink::Plain, if inner.columns() > 0 { gutter.as_str() } else { "" });
                    inner.append(&column.place(&column.cells[index]));
                }
                line.push(Ink::Plain, &gutter);
                line.append(&inner.padded(group.width()));
            }
            page.line(line);
        }
    }
}
