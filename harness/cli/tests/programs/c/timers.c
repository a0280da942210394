/* A lock by O_EXCL whose users set timers, in each of the ways in which programs do, and find that they end when they
 * should, and cut short what they should. timers acquire|release PATH. The lock is held by somebody else: exit code 1.
 * A timer is wrong: 4. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static volatile int heard;

static void hear(int number)
{
    (void)number;
    heard++;
}

#define EXPECT(what) \
    do { \
        if (!(what)) { \
            fprintf(stderr, "line %d: %s (errno %d)\n", __LINE__, #what, errno); \
            _exit(4); \
        } \
    } while (0)

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}

static int about(double is, double wanted)
{
    return is > wanted - 0.1 && is < wanted + 0.1;
}

static struct timespec seconds(double wanted)
{
    return (struct timespec){ (time_t)wanted, (wanted - (time_t)wanted) * 1e9 };
}

static void set(double first, double again)
{
    struct itimerval value = { { (time_t)again, 0 }, { (time_t)first, 0 } };
    EXPECT(setitimer(ITIMER_REAL, &value, NULL) == 0);
}

static double left(void)
{
    struct itimerval value;
    EXPECT(getitimer(ITIMER_REAL, &value) == 0);
    return value.it_value.tv_sec + value.it_value.tv_usec / 1e6;
}

static void handle(int number, void (*handler)(int))
{
    struct sigaction action = { .sa_handler = handler, .sa_flags = SA_RESTART };
    EXPECT(sigaction(number, &action, NULL) == 0);
}

static void set_alarms(void)
{
    struct timespec nap = seconds(1), rest;
    handle(SIGALRM, hear);
    EXPECT(alarm(5) == 0);
    EXPECT(nanosleep(&nap, NULL) == 0);
    EXPECT(alarm(0) == 4 && left() == 0);
    /* It comes again and again, and cuts a sleep short, of which the rest is told. */
    double begun = now();
    set(3, 1);
    nap = seconds(2);
    EXPECT(nanosleep(&nap, NULL) == 0 && about(left(), 1));
    EXPECT(pause() == -1 && errno == EINTR && heard == 1 && about(now() - begun, 3));
    nap = seconds(5);
    EXPECT(nanosleep(&nap, &rest) == -1 && errno == EINTR && heard == 2 && about(now() - begun, 4));
    EXPECT(about(rest.tv_sec + rest.tv_nsec / 1e9, 4));
    set(0, 0);
    /* Nobody hears it. */
    handle(SIGALRM, SIG_IGN);
    alarm(1);
    nap = seconds(2);
    EXPECT(nanosleep(&nap, NULL) == 0);
    handle(SIGALRM, hear);
    sigset_t alone, pending;
    sigemptyset(&alone);
    sigaddset(&alone, SIGALRM);
    sigprocmask(SIG_BLOCK, &alone, NULL);
    alarm(1);
    begun = now();
    nap = seconds(2);
    EXPECT(nanosleep(&nap, NULL) == 0 && about(now() - begun, 2));
    EXPECT(sigpending(&pending) == 0 && sigismember(&pending, SIGALRM) && heard == 2);
    sigprocmask(SIG_UNBLOCK, &alone, NULL);
    EXPECT(heard == 3);
}

static void set_timers(void)
{
    struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1 };
    struct itimerspec value = { { 0, 0 }, { 0, 0 } };
    timer_t first, second;
    siginfo_t told;
    sigset_t alone;
    sigemptyset(&alone);
    sigaddset(&alone, SIGUSR1);
    sigprocmask(SIG_BLOCK, &alone, NULL);
    EXPECT(timer_create(CLOCK_MONOTONIC, &event, &first) == 0);
    EXPECT(timer_create(CLOCK_REALTIME, &event, &second) == 0);
    double begun = now();
    value.it_value = seconds(begun + 2);
    EXPECT(timer_settime(first, TIMER_ABSTIME, &value, NULL) == 0);
    EXPECT(timer_gettime(first, &value) == 0 && about(value.it_value.tv_sec + value.it_value.tv_nsec / 1e9, 2));
    EXPECT(sigwaitinfo(&alone, &told) == SIGUSR1 && told.si_code == SI_TIMER && about(now() - begun, 2));
    EXPECT(timer_getoverrun(first) == 0 && timer_delete(first) == 0 && timer_delete(first) == -1);
    /* A child has none of them. */
    value.it_value = seconds(1);
    EXPECT(timer_settime(second, 0, &value, NULL) == 0);
    pid_t child = fork();
    EXPECT(child >= 0);
    if (child == 0) {
        struct timespec nap = seconds(2);
        sigprocmask(SIG_UNBLOCK, &alone, NULL);
        _exit(nanosleep(&nap, NULL) == 0 ? 0 : 5);
    }
    int status;
    EXPECT(waitpid(child, &status, 0) == child && status == 0);
    EXPECT(timer_delete(second) == 0);
}

int main(int count, char **words)
{
    if (count == 3 && strcmp(words[1], "release") == 0)
        return unlink(words[2]) == 0 ? 0 : 4;
    if (count == 3) {
        set_alarms();
        set_timers();
        set(3600, 0);
        execl("/proc/self/exe", words[0], words[1], words[2], "again", NULL);
        return 4;
    }
    /* An alarm goes on in the program that is executed. */
    EXPECT(alarm(0) == 3600);
    return open(words[2], O_CREAT | O_EXCL | O_WRONLY, 0644) < 0 ? 1 : 0;
}
