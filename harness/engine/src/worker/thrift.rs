//! What makes a process cheaper to copy and to end: fewer mappings, fewer pages of its own, larger ones of code.
//!
//! Of what a fork costs, the kernel spends most on the list of mappings and on the pages that are not those of a file;
//! once more when the copy ends; and on the code that the copy finds again page by page.
//!
//! Each object that is loaded (the program, the C library) brings three mappings that nobody writes to and that
//! differ in whether they can be executed, and as many pages as the dynamic linker has written addresses to before it
//! made them unwritable. Mappings become one if all of it can be executed, and they follow one another in the file as
//! they do in memory. What the linker has written is put into a file in memory: pages of files are not copied but
//! found again when they are needed ([`economize`]). And the program's code can be in pages so large that a copy has
//! most of it with one or two ([`enlarge`]), which takes as long as a few forks.
//!
//! What is mapped stays at its place and says the same. Where the kernel does not allow it, things stay as they were: all
//! of it is a matter of time alone. Where it has no memory left, this process may end here.

use std::fs::File;
use std::io::{self, Write};
use std::mem::ManuallyDrop;

use rustix::fs::{MemfdFlags, memfd_create};
use rustix::mm::{
    Advice, MapFlags, MprotectFlags, MremapFlags, ProtFlags, madvise, mmap, mmap_anonymous, mprotect,
    mremap_fixed, munmap,
};

/// Addresses from the first one to the second one, which is not part of it; whole pages.
type Range = (usize, usize);

const CODE: MprotectFlags = MprotectFlags::READ.union(MprotectFlags::EXEC);

/// What an object that is loaded has in memory.
#[derive(Debug, Default)]
struct Loaded {
    /// What can only be read or executed; those that meet are one.
    unwritable: Vec<Range>,
    /// From the first to the last of what can be executed from the beginning.
    code: Option<Range>,
    /// What the dynamic linker has made unwritable once it had written to it.
    relocated: Option<Range>,
}

/// Makes this process cheaper to copy. It must have one thread.
pub(super) fn economize() {
    for object in loaded() {
        for &(begin, end) in &object.unwritable {
            // SAFETY: nobody writes there, and what can be executed besides is what can be read.
            let _ = unsafe { mprotect(begin as *mut _, end - begin, CODE) };
        }
        if let Some(range) = object.relocated {
            let _ = put_into_file(range);
        }
    }
}

/// Has this program's code lie in large pages, as far as they fit. This process must have one thread.
pub(super) fn enlarge() {
    let size = std::fs::read_to_string("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size");
    let Some(size) = size.ok().and_then(|size| size.trim().parse::<usize>().ok()) else { return };
    // The program comes first.
    let Some(Loaded { unwritable, code: Some(code), .. }) = loaded().into_iter().next() else { return };
    for (begin, end) in unwritable {
        // Whole ones, each of which has code in it.
        let begin = begin.max(code.0 & !(size - 1)).next_multiple_of(size);
        let end = end.min(code.1.next_multiple_of(size)) & !(size - 1);
        if begin < end {
            let _ = put_into_large_pages((begin, end), size);
        }
    }
}

fn loaded() -> Vec<Loaded> {
    let mut objects: Vec<Loaded> = Vec::new();
    // SAFETY: `note` is given what is passed here, and nothing of it is kept.
    unsafe { libc::dl_iterate_phdr(Some(note), (&raw mut objects).cast()) };
    objects
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
    let mut object = Loaded::default();
    for header in headers {
        let begin = base.wrapping_add(header.p_vaddr as usize);
        let end = begin.wrapping_add(header.p_memsz as usize);
        let begin = begin & !(page - 1);
        if header.p_type == libc::PT_LOAD && header.p_flags & libc::PF_W == 0 {
            let Some(end) = end.checked_next_multiple_of(page) else { continue };
            if header.p_flags & libc::PF_X != 0 {
                object.code = Some((object.code.map_or(begin, |(first, _)| first.min(begin)), end));
            }
            match object.unwritable.last_mut() {
                Some(last) if last.1 == begin => last.1 = end,
                _ => object.unwritable.push((begin, end)),
            }
        } else if header.p_type == libc::PT_GNU_RELRO {
            // As far as the linker makes it unwritable: the last page may have more in it.
            let end = end & !(page - 1);
            object.relocated = (begin < end).then_some((begin, end));
        }
    }
    objects.push(object);
    0
}

fn put_into_file((begin, end): Range) -> io::Result<()> {
    let mut file = File::from(memfd_create("tearproof-relocated", MemfdFlags::CLOEXEC)?);
    // SAFETY: it is mapped, can be read, and nobody writes to it any more.
    file.write_all(unsafe { std::slice::from_raw_parts(begin as *const u8, end - begin) })?;
    let flags = MapFlags::PRIVATE | MapFlags::FIXED;
    // SAFETY: the same bytes lie at the same place with the same rights, from one instruction to the next: there is one
    // thread.
    unsafe { mmap(begin as *mut _, end - begin, ProtFlags::READ, flags, &file, 0) }?;
    Ok(())
}

/// Memory that is given back if nothing comes of it.
struct Room(Range);

impl Drop for Room {
    fn drop(&mut self) {
        let (begin, end) = self.0;
        // SAFETY: it was mapped for this alone.
        let _ = unsafe { munmap(begin as *mut _, end - begin) };
    }
}

/// Replaces the code in a range by large pages with a copy of it. Both ends are multiples of their size.
fn put_into_large_pages((place, end): Range, size: usize) -> io::Result<()> {
    let length = end - place;
    let rights = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: new memory, at a place of the kernel's choice.
    let begin = unsafe { mmap_anonymous(std::ptr::null_mut(), length + size, rights, MapFlags::PRIVATE) }?;
    let begin = begin as usize;
    let copy = begin.next_multiple_of(size);
    let (room, _before) = (Room((copy, copy + length)), Room((begin, copy)));
    let _after = Room((copy + length, begin + length + size));
    let large_ones = of_large_pages()?;
    // SAFETY: the room was mapped above, and what is copied is mapped, can be read and is not written to.
    unsafe {
        madvise(copy as *mut _, length, Advice::LinuxHugepage)?;
        std::ptr::copy_nonoverlapping(place as *const u8, copy as *mut u8, length);
        mprotect(copy as *mut _, length, CODE)?;
    }
    if of_large_pages()? < large_ones + length {
        // Many small ones that are no file's would be worse than what there is.
        return Err(io::ErrorKind::OutOfMemory.into());
    }
    // SAFETY: as in `put_into_file`. What was there is unmapped, and its room is no more.
    unsafe { mremap_fixed(copy as *mut _, length, length, MremapFlags::MAYMOVE, place as *mut _) }?;
    let _moved = ManuallyDrop::new(room);
    Ok(())
}

/// How many bytes of this process lie in large pages that are no file's.
fn of_large_pages() -> io::Result<usize> {
    let rollup = std::fs::read_to_string("/proc/self/smaps_rollup")?;
    let line = rollup.lines().find_map(|line| line.strip_prefix("AnonHugePages:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<usize>().ok());
    kilobytes.map(|kilobytes| kilobytes << 10).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_writes_to_is_found_as_the_kernel_tells_it() {
        let maps = std::fs::read_to_string("/proc/self/maps").expect("what this process has mapped");
        let rights_at = |address: usize| {
            maps.lines().find_map(|line| {
                let (range, rest) = line.split_once(' ')?;
                let (begin, end) = range.split_once('-')?;
                let [begin, end] =
                    [begin, end].map(|number| usize::from_str_radix(number, 16).expect("a number"));
                (begin..end).contains(&address).then(|| rest[..4].to_owned())
            })
        };
        let objects = loaded();
        for object in &objects {
            for &(begin, end) in &object.unwritable {
                for address in [begin, end - 1] {
                    let rights = rights_at(address).expect("mapped");
                    assert!(rights.starts_with('r') && !rights.contains('w'), "{address:x}: {rights}");
                }
            }
            if let Some((begin, end)) = object.relocated {
                // Not every C library makes it unwritable.
                assert!(
                    [begin, end - 1].iter().all(|&address| rights_at(address).is_some()),
                    "{begin:x} {end:x}"
                );
            }
        }
        // This program was relocated, and this function is part of what nobody writes to.
        let program = objects.first().expect("the program comes first");
        let here = what_nobody_writes_to_is_found_as_the_kernel_tells_it as fn() as usize;
        assert!(program.unwritable.iter().any(|&(begin, end)| (begin..end).contains(&here)), "{program:x?}");
        assert!(program.code.is_some_and(|(begin, end)| (begin..end).contains(&here)), "{program:x?}");
        assert!(program.relocated.is_some(), "{program:x?}");
    }

    #[test]
    fn what_is_mapped_says_the_same_in_fewer_mappings() {
        let own = std::env::current_exe().expect("this program");
        let role = "worker::thrift::tests::becomes_cheap";
        let mut command = std::process::Command::new(own);
        let output = command.args(["--exact", role, "--ignored"]).output().expect("it runs");
        let told = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && told.contains("1 passed"), "{}: {told}", output.status);
    }

    #[test]
    #[ignore = "a role that the test above has this binary play"]
    fn becomes_cheap() {
        // SAFETY: nobody but the thread that waits for this one could hold a lock.
        match unsafe { nix::unistd::fork() }.expect("a process") {
            nix::unistd::ForkResult::Parent { child } => {
                let status = nix::sys::wait::waitpid(child, None).expect("its end");
                assert_eq!(status, nix::sys::wait::WaitStatus::Exited(child, 0));
            }
            nix::unistd::ForkResult::Child => {
                let done = std::panic::catch_unwind(|| {
                    let before = (said(), mappings());
                    economize();
                    let between = (said(), mappings());
                    enlarge();
                    // Also what unwinds a stack still finds its way.
                    assert!(std::panic::catch_unwind(|| panic!("on purpose")).is_err());
                    assert_eq!([&between.0, &said()], [&before.0; 2]);
                    assert!(between.1 < before.1, "{} mappings, {} before", between.1, before.1);
                });
                // SAFETY: takes a plain number. Nothing of the parent's is to be done twice.
                unsafe { libc::_exit(i32::from(done.is_err())) }
            }
        }
    }

    /// Everything that nobody writes to.
    fn said() -> Vec<Vec<u8>> {
        let ranges =
            loaded().into_iter().flat_map(|object| object.unwritable.into_iter().chain(object.relocated));
        // SAFETY: it is mapped, and can be read.
        let bytes = |(begin, end)| unsafe { std::slice::from_raw_parts(begin as *const u8, end - begin) };
        ranges.map(|range| bytes(range).to_vec()).collect()
    }

    fn mappings() -> usize {
        std::fs::read_to_string("/proc/self/maps").expect("what this process has mapped").lines().count()
    }
}
