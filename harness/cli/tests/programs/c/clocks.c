/* A lock by O_EXCL whose users look at their clocks, in each of the ways in which programs do, and find that time
 * goes on: within a process, in its threads and its children, and from who held the lock before to who does now.
 * clocks acquire|release PATH. The lock is held by somebody else: exit code 1. Time went back: 4. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static long long last, last_up;

static void goes_on(long long *last, long long now)
{
    if (now <= *last) {
        fprintf(stderr, "%lld after %lld\n", now, *last);
        _exit(4);
    }
    *last = now;
}

static void later(long long now)
{
    goes_on(&last, now);
}

static long long in_ns(struct timespec time)
{
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

static void look(void)
{
    struct timespec time;
    struct timeval day;
    clock_gettime(CLOCK_REALTIME, &time);
    later(in_ns(time));
    syscall(SYS_clock_gettime, CLOCK_REALTIME, &time);
    later(in_ns(time));
    clock_gettime(CLOCK_MONOTONIC, &time);
    goes_on(&last_up, in_ns(time));
    gettimeofday(&day, NULL);
    if (day.tv_sec * 1000000LL + day.tv_usec < last / 1000)
        later(0);
    if (syscall(SYS_time, NULL) < last / 1000000000)
        later(0);
}

static void *look_as_thread(void *nothing)
{
    look();
    return nothing;
}

static long long up(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return in_ns(time);
}

/* A sleep is as long as was asked, whoever looks at a clock meanwhile. */
static void *sleep_as_thread(void *nothing)
{
    long long before = up();
    usleep(2000);
    if (up() < before + 2000000)
        _exit(4);
    return nothing;
}

int main(int count, char **words)
{
    char stamp[4096], text[32] = "";
    pthread_t thread;
    int status;
    if (count != 3)
        return 64;
    snprintf(stamp, sizeof stamp, "%s.stamp", words[2]);
    look();
    if (words[1][0] == 'a') {
        int lock = open(words[2], O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
        if (lock < 0)
            return errno == EEXIST ? 1 : 3;
        close(lock);
    }
    int file = open(stamp, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (pread(file, text, sizeof text - 1, 0) > 0 && atoll(text) > last)
        last = atoll(text);
    look();
    if (pthread_create(&thread, NULL, look_as_thread, NULL) || pthread_join(thread, NULL))
        return 3;
    if (pthread_create(&thread, NULL, sleep_as_thread, NULL))
        return 3;
    for (int often = 0; often < 1000; often++)
        goes_on(&last_up, up());
    if (access(stamp, F_OK) || pthread_join(thread, NULL))
        return 3;
    look();
    /* This one has the memory of its parent until it is another program. */
    char *words_of_it[] = { "true", NULL };
    pid_t other;
    if (posix_spawnp(&other, "true", NULL, NULL, words_of_it, environ))
        return 3;
    look();
    if (waitpid(other, &status, 0) != other)
        return 3;
    look();
    pid_t child = fork();
    if (child == 0) {
        look();
        _exit(0);
    }
    if (waitpid(child, &status, 0) != child)
        return 3;
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        return 4;
    long long before = last;
    usleep(2000);
    look();
    if (last < before + 2000000)
        return 4;
    snprintf(text, sizeof text, "%020lld", last);
    if (pwrite(file, text, 20, 0) != 20)
        return 3;
    close(file);
    return words[1][0] == 'r' && unlink(words[2]) ? 3 : 0;
}
