//! What makes a process cheaper to copy and to end: fewer mappings, and fewer pages of its own.
//!
//! Of what a fork costs, the kernel spends most on the list of mappings and on the pages that are not those of a file; and
//! once more when the copy ends. Each object that is loaded (the program, the C library) brings three mappings that
//! nobody writes to and that differ in whether they can be executed, and as many pages as the dynamic linker has
//! written addresses to before it made them unwritable. The mappings become one if all of them can be executed. And what
//! the linker has written is put into a file in memory: pages of files are not copied but found again when
//! they are needed.
//!
//! What is mapped stays at its place and says the same. Where the kernel refuses, things stay as they were.

use std::fs::File;
use std::io::Write;

use rustix::fs::{MemfdFlags, memfd_create};
use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap, mprotect};

/// Addresses from the first one to the second one, which is not part of it.
type Range = (usize, usize);

/// What an object that is loaded has in memory.
#[derive(Debug, Default)]
struct Loaded {
    /// What can only be read or executed, in whole pages.
    unwritable: Vec<Range>,
    /// What the dynamic linker has made unwritable once it had written to it, in whole pages.
    relocated: Option<Range>,
}

/// Makes this process cheaper to copy. It must have one thread.
pub(super) fn economize() {
    let mut objects: Vec<Loaded> = Vec::new();
    // SAFETY: `note` is given what was passed here, and nothing of it is kept.
    unsafe { libc::dl_iterate_phdr(Some(note), (&raw mut objects).cast()) };
    // All of it is a matter of time alone.
    for object in &objects {
        if let [_, _, ..] = object.unwritable[..] {
            object.unwritable.iter().for_each(|&range| {
                let _ = make_executable(range);
            });
        }
        if let Some(range) = object.relocated {
            let _ = put_into_file(range);
        }
    }
}

/// Notes one object.
unsafe extern "C" fn note(
    info: *mut libc::dl_phdr_info,
    _: libc::size_t,
    objects: *mut libc::c_void,
) -> libc::c_int {
    // SAFETY: the caller passes what it was given, and a description that is valid for as long as this runs.
    let (info, objects) = unsafe { (&*info, &mut *objects.cast::<Vec<Loaded>>()) };
    // SAFETY: so many headers lie there.
    let headers = unsafe { std::slice::from_raw_parts(info.dlpi_phdr, usize::from(info.dlpi_phnum)) };
    let page = rustix::param::page_size();
    let base = info.dlpi_addr as usize;
    let mut loaded = Loaded::default();
    for header in headers {
        let begin = base + header.p_vaddr as usize;
        let end = begin + header.p_memsz as usize;
        let whole_pages = begin & !(page - 1);
        if header.p_type == libc::PT_LOAD && header.p_flags & libc::PF_W == 0 {
            loaded.unwritable.push((whole_pages, end.next_multiple_of(page)));
        } else if header.p_type == libc::PT_GNU_RELRO && whole_pages < end & !(page - 1) {
            // As much as the linker makes unwritable: its last page may have more than that in it.
            loaded.relocated = Some((whole_pages, end & !(page - 1)));
        }
    }
    objects.push(loaded);
    0
}

fn make_executable((begin, end): Range) -> std::io::Result<()> {
    let rights = MprotectFlags::READ | MprotectFlags::EXEC;
    // SAFETY: nobody writes there, and what can be executed besides is what can be read.
    unsafe { mprotect(begin as *mut _, end - begin, rights) }.map_err(Into::into)
}

fn put_into_file((begin, end): Range) -> std::io::Result<()> {
    let mut file = File::from(memfd_create("tearproof-relocated", MemfdFlags::CLOEXEC)?);
    // SAFETY: it is mapped, can be read, and nobody writes to it any more.
    file.write_all(unsafe { std::slice::from_raw_parts(begin as *const u8, end - begin) })?;
    let flags = MapFlags::PRIVATE | MapFlags::FIXED;
    // SAFETY: the same bytes lie at the same place with the same rights, from one instruction to the next: there is one
    // thread.
    unsafe { mmap(begin as *mut _, end - begin, ProtFlags::READ, flags, &file, 0) }?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_program_was_relocated_and_has_several_mappings_that_nobody_writes_to() {
        let mut objects: Vec<Loaded> = Vec::new();
        // SAFETY: as above.
        unsafe { libc::dl_iterate_phdr(Some(note), (&raw mut objects).cast()) };
        let maps = std::fs::read_to_string("/proc/self/maps").expect("what this process has mapped");
        let rights_at = |address: usize| {
            maps.lines().find_map(|line| {
                let (range, rest) = line.split_once(' ')?;
                let (begin, end) = range.split_once('-')?;
                let [begin, end] = [begin, end].map(|number| usize::from_str_radix(number, 16).expect("a number"));
                (begin..end).contains(&address).then(|| rest[..4].to_owned())
            })
        };
        for object in &objects {
            for &(begin, end) in object.unwritable.iter().chain(&object.relocated) {
                for address in [begin, end - 1] {
                    let rights = rights_at(address).expect("mapped");
                    assert!(rights.starts_with('r') && !rights.contains('w'), "{address:x}: {rights}");
                }
            }
        }
        let own = objects.first().expect("the program comes first");
        assert!(own.unwritable.len() > 1 && own.relocated.is_some(), "{own:?}");
    }
}
