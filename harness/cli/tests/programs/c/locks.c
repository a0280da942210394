/* Locks as programs in C take them, one family each, right and wrong: locks WAY.
 *
 * A worker of the harness's protocol (scenarios/adapters/README.md) with one lock. Requests are searched for the
 * few words that matter, since nobody but the harness writes them.
 *
 *   excl               open(O_CREAT|O_EXCL)
 *   excl-looked        looks whether it is there, then open(O_CREAT)
 *   excl-same          who finds the same lock after ten milliseconds as before takes it for one of a dead holder
 *   excl-same-later    removes it likewise, and comes back for it after ten milliseconds more
 *   excl-dead          the number of the holder is in it, and the lock of a dead one is removed
 *   excl-dead-guarded  it is removed under a lock by flock on another file
 *   mkdir              mkdir(2)
 *   mkdir-old          a directory that is older than ten seconds is removed
 *   mkdir-old-waits    one that is older than two seconds, at which it looks six times, a second apart
 *   link               link(2) of a file of one's own to the name of the lock; its count of links tells
 *   link-renamed       looks whether it is there, then takes rename(2) for link(2), which replaces what is there
 *   rename             rename(2) of a directory of one's own, with a file in it, to the name of the lock, which
 *                      must not be there or be empty
 *   flock              flock(2), and the file stays
 *   flock-removed      the file is removed on release
 *   fcntl              fcntl(F_SETLKW)
 *   fcntl-reopened     the file is opened and closed once more: the lock is gone with the first close
 *   ofd                fcntl(F_OFD_SETLKW)
 *   ofd-shared         asks for a lock to read
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static const char *way;
static int held = -1;

static int is(const char *name) { return strcmp(way, name) == 0; }

/* A lock by fcntl on the whole file, of this kind. */
static int lock(int fd, int command, short kind)
{
    struct flock whole = { .l_type = kind, .l_whence = SEEK_SET };
    return fcntl(fd, command, &whole);
}

/* Creates it, or fails where it is there. */
static int create(const char *path, int exclusively)
{
    int fd = open(path, O_WRONLY | O_CREAT | (exclusively ? O_EXCL : 0), 0644);
    if (fd < 0)
        return errno;
    dprintf(fd, "%d\n", (int)getpid());
    close(fd);
    return 0;
}

/* Removes it if it names a process that is no more. One that names nobody yet is left alone. */
static void remove_dead(const char *path)
{
    char text[32] = "";
    int fd = open(path, O_RDONLY);
    if (fd < 0)
        return;
    ssize_t length = read(fd, text, sizeof text - 1);
    close(fd);
    if (length > 0 && kill(atoi(text), 0) != 0 && errno == ESRCH)
        unlink(path);
}

static int create_or_inherit(const char *path)
{
    char guard[4096];
    int error = create(path, 1);
    if (error != EEXIST)
        return error;
    if (is("excl-dead")) {
        remove_dead(path);
    } else {
        snprintf(guard, sizeof guard, "%s.guard", path);
        int fd = open(guard, O_RDWR | O_CREAT, 0644);
        if (fd < 0 || flock(fd, LOCK_EX) != 0)
            return errno;
        remove_dead(path);
        close(fd);
    }
    return create(path, 1);
}

static int create_or_take(const char *path)
{
    struct stat before, found;
    int error = create(path, 1);
    if (error != EEXIST || stat(path, &before) != 0)
        return error;
    poll(NULL, 0, 10);
    if (stat(path, &found) == 0 && found.st_ino == before.st_ino)
        unlink(path);
    if (is("excl-same-later"))
        poll(NULL, 0, 10);
    return create(path, 1);
}

static int wait_for_directory(const char *path)
{
    struct stat found;
    for (int look = 0; look < 6; look++) {
        if (mkdir(path, 0755) == 0)
            return 0;
        if (stat(path, &found) == 0 && found.st_mtime + 2 < time(NULL))
            rmdir(path);
        else
            sleep(1);
    }
    return EEXIST;
}

static int make_directory(const char *path)
{
    struct stat found;
    if (mkdir(path, 0755) == 0)
        return 0;
    if (errno != EEXIST || is("mkdir"))
        return errno;
    if (stat(path, &found) == 0 && found.st_mtime + 10 < time(NULL))
        rmdir(path);
    return mkdir(path, 0755) == 0 ? 0 : errno;
}

static int link_own(const char *path)
{
    char own[4096];
    struct stat found;
    int error;
    if (is("link-renamed") && access(path, F_OK) == 0)
        return EBUSY;
    snprintf(own, sizeof own, "%s.%d", path, (int)getpid());
    if ((error = create(own, 0)) != 0)
        return error;
    if (is("link-renamed"))
        return rename(own, path) == 0 ? 0 : errno;
    /* On NFS the answer of link(2) may get lost on the way. */
    if (link(own, path) != 0)
        errno = 0;
    int linked = stat(own, &found) == 0 && found.st_nlink == 2;
    unlink(own);
    return linked ? 0 : EBUSY;
}

static int rename_own(const char *path)
{
    char own[4096], inside[4200];
    int error;
    snprintf(own, sizeof own, "%s.%d", path, (int)getpid());
    snprintf(inside, sizeof inside, "%s/holder", own);
    if (mkdir(own, 0755) != 0)
        return errno;
    if ((error = create(inside, 0)) != 0)
        return error;
    if (rename(own, path) == 0)
        return 0;
    error = errno == ENOTEMPTY ? EEXIST : errno;
    unlink(inside);
    rmdir(own);
    return error;
}

static int lock_file(const char *path)
{
    int failed, fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0)
        return errno;
    if (is("flock") || is("flock-removed"))
        failed = flock(fd, LOCK_EX);
    else if (is("fcntl") || is("fcntl-reopened"))
        failed = lock(fd, F_SETLKW, F_WRLCK);
    else
        failed = lock(fd, F_OFD_SETLKW, is("ofd") ? F_WRLCK : F_RDLCK);
    if (failed)
        return errno;
    if (is("fcntl-reopened"))
        close(open(path, O_RDONLY | O_CLOEXEC));
    held = fd;
    return 0;
}

/* 0: it is held. EBUSY, EEXIST: somebody else has it. */
static int acquire(const char *path)
{
    if (is("excl-looked"))
        return access(path, F_OK) == 0 ? EBUSY : create(path, 0);
    if (is("excl"))
        return create(path, 1);
    if (is("excl-same") || is("excl-same-later"))
        return create_or_take(path);
    if (is("excl-dead") || is("excl-dead-guarded"))
        return create_or_inherit(path);
    if (is("mkdir-old-waits"))
        return wait_for_directory(path);
    if (is("mkdir") || is("mkdir-old"))
        return make_directory(path);
    if (is("link") || is("link-renamed"))
        return link_own(path);
    if (is("rename"))
        return rename_own(path);
    return lock_file(path);
}

static int release(const char *path)
{
    char inside[4096];
    if (held >= 0) {
        if (is("flock-removed"))
            unlink(path);
        close(held);
        held = -1;
        return 0;
    }
    if (is("rename")) {
        snprintf(inside, sizeof inside, "%s/holder", path);
        unlink(inside);
    }
    int gone = strncmp(way, "mkdir", 5) == 0 || is("rename") ? rmdir(path) : unlink(path);
    return gone == 0 ? 0 : errno;
}

/* The text of a field, which has no quotes in it. */
static char *text(char *line, const char *field)
{
    static char found[4096];
    char key[32];
    snprintf(key, sizeof key, "\"%s\":\"", field);
    char *from = strstr(line, key);
    if (!from)
        return NULL;
    from += strlen(key);
    snprintf(found, sizeof found, "%.*s", (int)strcspn(from, "\""), from);
    return found;
}

static long number(char *line, const char *field)
{
    char key[32];
    snprintf(key, sizeof key, "\"%s\":", field);
    char *from = strstr(line, key);
    return from ? atol(from + strlen(key)) : 0;
}

int main(int count, char **arguments)
{
    char line[8192];

    if (count != 2)
        return 2;
    way = arguments[1];
    while (fgets(line, sizeof line, stdin)) {
        char kind[16], operation[16], *found;
        snprintf(kind, sizeof kind, "%s", (found = text(line, "t")) ? found : "");
        snprintf(operation, sizeof operation, "%s", (found = text(line, "op")) ? found : "");
        char *path = text(line, "path");
        if (strcmp(kind, "stop") == 0)
            break;
        if (strcmp(kind, "hello") == 0) {
            puts("{\"t\":\"ready\",\"proto\":1,\"name\":\"locks\",\"ops\":[\"acquire\",\"release\"]}");
        } else {
            int error = path == NULL ? EINVAL : strcmp(operation, "acquire") == 0 ? acquire(path) : release(path);
            printf("{\"t\":\"%s\",\"id\":%ld", error ? "fail" : "ok", number(line, "id"));
            if (error)
                printf(",\"error\":\"%s\",\"busy\":%s", strerror(error),
                       error == EEXIST || error == EBUSY ? "true" : "false");
            puts("}");
        }
        fflush(stdout);
    }
    return 0;
}
