/* The floor: starts N processes with posix_spawn and captured output, waits in one epoll, and prints JSON.
 *
 * The same work as the other programs of this case: own session, pipes for stdin, stdout and stderr, a pidfd.
 * usage: spawn_loop N WINDOW
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

struct child { int out, err, in, pidfd; };
enum { OUT, ERR, EXIT };

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

static double cpu(int who) {
    struct rusage r;
    getrusage(who, &r);
    return r.ru_utime.tv_sec + r.ru_stime.tv_sec + (r.ru_utime.tv_usec + r.ru_stime.tv_usec) * 1e-6;
}

static void watch(int epoll, int fd, int index, int kind) {
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = (unsigned long)index << 2 | (unsigned long)kind};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0) { perror("epoll_ctl"); exit(1); }
}

static void start(struct child *child, int index, int epoll) {
    int in[2], out[2], err[2];
    if (pipe2(in, O_CLOEXEC) < 0 || pipe2(out, O_CLOEXEC) < 0 || pipe2(err, O_CLOEXEC) < 0) { perror("pipe2"); exit(1); }
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, in[0], 0);
    posix_spawn_file_actions_adddup2(&actions, out[1], 1);
    posix_spawn_file_actions_adddup2(&actions, err[1], 2);
    posix_spawnattr_t attributes;
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID);
    char *argv[] = {"/bin/true", NULL};
    pid_t pid;
    if (posix_spawn(&pid, argv[0], &actions, &attributes, argv, environ)) { perror("posix_spawn"); exit(1); }
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    close(in[0]); close(out[1]); close(err[1]);
    child->in = in[1]; child->out = out[0]; child->err = err[0];
    child->pidfd = syscall(SYS_pidfd_open, pid, 0);
    watch(epoll, child->out, index, OUT);
    watch(epoll, child->err, index, ERR);
    watch(epoll, child->pidfd, index, EXIT);
}

int main(int argc, char **argv) {
    int n = argc > 1 ? atoi(argv[1]) : 2000, window = argc > 2 ? atoi(argv[2]) : 64;
    struct child *children = calloc(n, sizeof *children);
    struct epoll_event events[256];
    char buffer[65536];
    int epoll = epoll_create1(EPOLL_CLOEXEC), started = 0, ended = 0;
    double begin = now();
    while (ended < n) {
        int room = started < n && started - ended < window;
        if (room) { start(&children[started], started, epoll); started++; }
        int ready = epoll_wait(epoll, events, 256, started < n && started - ended < window ? 0 : -1);
        for (int i = 0; i < ready; i++) {
            struct child *child = &children[events[i].data.u64 >> 2];
            int kind = events[i].data.u64 & 3;
            if (kind == EXIT) {
                siginfo_t info;
                waitid(P_PIDFD, child->pidfd, &info, WEXITED);
                close(child->pidfd); close(child->in);
                ended++;
            } else {
                int fd = kind == OUT ? child->out : child->err;
                if (read(fd, buffer, sizeof buffer) <= 0) close(fd);
            }
        }
    }
    printf("{\"wall\": %f, \"cpu\": %f, \"children\": %f}\n", now() - begin, cpu(RUSAGE_SELF), cpu(RUSAGE_CHILDREN));
    return 0;
}
