/* A lock by link(2) of a file whose name is made of chance, in each of the ways in which programs come by it:
 * chance acquire|release PATH. The lock is held by somebody else: exit code 1. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/random.h>
#include <unistd.h>

int main(int count, char **words)
{
    unsigned long beside, drawn, read_from_device, read_at;
    char own[4096];
    if (count != 3)
        return 64;
    if (strcmp(words[1], "release") == 0)
        return unlink(words[2]) ? 3 : 0;
    memcpy(&beside, (void *)getauxval(AT_RANDOM), sizeof beside);
    if (getrandom(&drawn, sizeof drawn, 0) != sizeof drawn)
        return 3;
    int device = open("/dev/urandom", O_RDONLY | O_CLOEXEC);
    if (read(device, &read_from_device, sizeof read_from_device) != sizeof read_from_device)
        return 3;
    if (pread(device, &read_at, sizeof read_at, 100) != sizeof read_at)
        return 3;
    close(device);
    snprintf(own, sizeof own, "%s.%lx%lx%lx%lx", words[2], beside, drawn, read_from_device, read_at);
    int file = open(own, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (file < 0)
        return 3;
    close(file);
    int taken = link(own, words[2]) == 0;
    int why = errno;
    unlink(own);
    return taken ? 0 : why == EEXIST ? 1 : 3;
}
