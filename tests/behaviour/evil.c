/*
 * evil - a module that misbehaves: check=, start=, lane_start=, serve=, lane_stop= and stop= take
 * one of the words below, "well" by default.
 *
 * Some faults must be chosen when it is built: EVIL_ABI, EVIL_SIZE, EVIL_SERVE,
 * EVIL_SYMBOL, EVIL_CONSTRUCTOR, EVIL_UNDEFINED.
 */
#include "../../src/module/preforkd/module.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <linux/net_tstamp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#ifndef EVIL_ABI
#define EVIL_ABI PREFORKD_MODULE_ABI
#endif
#ifndef EVIL_SIZE
#define EVIL_SIZE sizeof(struct preforkd_module)
#endif
#ifndef EVIL_SERVE
#define EVIL_SERVE serve
#endif
#ifndef EVIL_SYMBOL
#define EVIL_SYMBOL preforkd_module
#endif

static const struct preforkd_host *lent;
static struct preforkd_conn *now;
static char data[16 * 1024];

static void say(const char *text)
{
    lent->write(now, text, strlen(text));
}

static void crash(void)
{
    static volatile int *volatile nowhere;
    *nowhere = 1;
}

static void hang(void)
{
    for (;;)
        pause();
}

static void loop(void)
{
    for (volatile unsigned turn = 0;; turn++)
        ;
}

static void leave(void)
{
    exit(0);
}

static void leave_badly(void)
{
    exit(7);
}

/* A module without the address sanitizer doesn't tell it that the frames below are gone: it would
 * take what runs on the same stack afterwards for a fault. */
extern void __asan_handle_no_return(void) __attribute__((weak));

static void leave_thread(void)
{
    if (__asan_handle_no_return)
        __asan_handle_no_return();
    pthread_exit(NULL);
}

static void *rest(void *unused)
{
    (void)unused;
    hang();
    return NULL;
}

/* The process goes on after the end of its first thread, as long as it has another one. */
static void leave_thread_to_another(void)
{
    pthread_t other;
    pthread_create(&other, NULL, rest, NULL);
    leave_thread();
}

static void leave_thread_at_the_second(void)
{
    static int served;
    if (++served == 2)
        leave_thread();
}

static void deafen(void)
{
    sigset_t all;
    signal(SIGTERM, SIG_IGN);
    signal(SIGQUIT, SIG_IGN);
    signal(SIGALRM, SIG_IGN);
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL);
}

static void deafen_and_hang(void)
{
    deafen();
    hang();
}

/* Overwrites all memory that its process shares with others. */
static void scribble(void)
{
    char line[512];
    FILE *maps = fopen("/proc/self/maps", "re");
    while (maps && fgets(line, sizeof line, maps)) {
        unsigned long from, to;
        char rights[5];
        if (sscanf(line, "%lx-%lx %4s", &from, &to, rights) != 3 || rights[1] != 'w' ||
            rights[3] != 's')
            continue;
        memset((void *)from, 0x5a, to - from < 65536 ? to - from : 65536);
    }
    if (maps)
        fclose(maps);
}

/* Leaves a process behind that scribbles for a while. */
__attribute__((unused)) static void scribble_on(void)
{
    scribble();
    if (fork() != 0)
        return;
    for (int i = 0; i < 200; i++) {
        scribble();
        poll(NULL, 0, 5);
    }
    _exit(0);
}

static void close_connection(void)
{
    close(lent->descriptor(now));
}

/* The first connection waits for room, which is there, until a second one is served. */
static void wait_for_another(void)
{
    static volatile int served;
    served++;
    while (served == 1 && lent->wait(now, POLLOUT, 1000) == 0)
        ;
}

/* Waits as its client asks, with these events of poll(2) for so many milliseconds. */
static void wait_as_told(void)
{
    struct preforkd_conn *conn = now;
    char line[64] = "", answer[64];
    int events, msec;
    while (lent->read(conn, line, sizeof line - 1) > 0 &&
           sscanf(line, "%d %d", &events, &msec) == 2) {
        lent->write(conn, "waits\n", 6);
        int error = lent->wait(conn, (short)events, msec);
        snprintf(answer, sizeof answer, "%s\n", error ? strerror(-error) : "ready");
        lent->write(conn, answer, strlen(answer));
        memset(line, 0, sizeof line);
    }
}

/* Echoes, and never takes the time stamps of what it sends, which the kernel queues as errors. */
static void stamp(void)
{
    struct preforkd_conn *conn = now;
    char bytes[64];
    ssize_t got;
    int stamps = SOF_TIMESTAMPING_TX_SOFTWARE | SOF_TIMESTAMPING_SOFTWARE;
    setsockopt(lent->descriptor(conn), SOL_SOCKET, SO_TIMESTAMPING, &stamps, sizeof stamps);
    while ((got = lent->read(conn, bytes, sizeof bytes)) > 0)
        lent->write(conn, bytes, (size_t)got);
}

/* Closes each epoll set of the process, as a descriptor closed twice may. */
static void close_sets(void)
{
    for (int fd = 3; fd < 64; fd++) {
        char link[64], target[64] = "";
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        if (readlink(link, target, sizeof target - 1) > 0 && strstr(target, "[eventpoll]"))
            close(fd);
    }
}

static void leak_descriptor(void)
{
    if (open("/dev/null", O_RDONLY) < 0)
        say("full ");
}

static void leak_memory(void)
{
    char *piece = malloc(1 << 20);
    if (piece)
        memset(piece, 1, 1 << 20);
}

static void rearrange(void)
{
    umask(0777);
    if (chdir("/tmp") != 0)
        say("can't change the directory ");
    fcntl(lent->descriptor(now), F_SETFL, O_NONBLOCK);
}

static void tell(void)
{
    char text[PREFORKD_PEER_TEXT], line[1024];
    const char *absent = lent->arg(lent, "absent"), *value = lent->arg(lent, "value");
    const char *home = getenv("HOME"), *kind = getenv("KIND"), *secret = getenv("SECRET");
    snprintf(line, sizeof line,
             "pool=%s peer=%s absent=%s value=%s home=%s kind=%s secret=%s uid=%d stopping=%d\n",
             lent->pool, lent->peer(now, text, sizeof text), absent ? absent : "none",
             value ? value : "none", home ? home : "none", kind ? kind : "none",
             secret ? secret : "none", (int)getuid(), lent->stopping(lent) != 0);
    say(line);
}

static void write_log(void)
{
    lent->log(lent, PREFORKD_WARNING, "a %s of\nthe %d%%", "line", 100);
    lent->log(lent, PREFORKD_DEBUG, "not wanted");
    lent->log(lent, INT_MAX, "not wanted either");
    lent->log(lent, INT_MIN, "beyond all levels");
    fputs("by standard error\n", stderr);
}

/* Writes more than a pipe holds, to standard output and standard error. */
static void print(void)
{
    for (int i = 0; i < 10000; i++) {
        fputs("printed\n", stdout);
        fputs("printed\n", stderr);
    }
    fflush(stdout);
}

/* Writes lines that a terminal would obey, and that look like the daemon's; the last has no end. */
static void forge(void)
{
    fprintf(stderr, "\033[31mX\n\npreforkd[1]: err: forged\n%600s", "<3>forged");
}

/* Tries to become root: by itself, with capset(), with the set-user-ID program that its argument
 * names. */
static void regain(void)
{
    char line[128] = "";
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct all[2] = {{~0U, ~0U, ~0U}, {~0U, ~0U, ~0U}};
    say(setuid(0) == 0 ? "setuid " : "");
    say(syscall(SYS_capset, &header, all) == 0 ? "capset " : "");
    FILE *program = popen(lent->arg(lent, "program"), "re");
    if (program && fgets(line, sizeof line, program))
        say(line);
    if (program)
        pclose(program);
}

/* Waits until the worker is asked to finish. */
static void await_stopping(void)
{
    say("waiting ");
    while (!lent->stopping(lent))
        poll(NULL, 0, 5);
    say("told ");
}

/* Connects each datagram socket to the address in `to`, and makes it block. */
static void take_log(void)
{
    static const struct timeval forever;
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    snprintf(to.sun_path, sizeof to.sun_path, "%s", lent->arg(lent, "to"));
    for (int fd = 3; fd < 64; fd++) {
        int kind = 0;
        socklen_t size = sizeof kind;
        if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &kind, &size) != 0 || kind != SOCK_DGRAM)
            continue;
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &forever, sizeof forever);
        if (connect(fd, (struct sockaddr *)&to, sizeof to) == 0)
            say("taken ");
    }
}

/* Makes all descriptors block, and clears O_APPEND. */
static void clear_flags(void)
{
    for (int fd = 2; fd < 64; fd++)
        fcntl(fd, F_SETFL, 0);
}

/* Logs a line when no descriptor is left to send it by. */
static void log_without_descriptors(void)
{
    int last = -1, fd;
    while ((fd = open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0)
        last = fd;
    lent->log(lent, PREFORKD_WARNING, "a line at %d descriptors", last + 1);
}

static const struct deed {
    const char *name;
    void (*deed)(void);
} deeds[] = {
    {"crash", crash},
    {"regain", regain},
    {"hang", hang},
    {"loop", loop},
    {"exit", leave},
    {"exit7", leave_badly},
    {"exit-thread", leave_thread},
    {"exit-thread-second", leave_thread_at_the_second},
    {"exit-thread-beside", leave_thread_to_another},
    {"deaf", deafen},
    {"deaf-hang", deafen_and_hang},
    {"scribble", scribble},
    {"scribble-on", scribble_on},
    {"close", close_connection},
    {"close-sets", close_sets},
    {"wait", wait_as_told},
    {"another", wait_for_another},
    {"stamp", stamp},
    {"leak", leak_descriptor},
    {"leak-memory", leak_memory},
    {"rearrange", rearrange},
    {"tell", tell},
    {"log", write_log},
    {"stopping", await_stopping},
    {"print", print},
    {"forge", forge},
    {"take-log", take_log},
    {"clear-flags", clear_flags},
    {"log-without", log_without_descriptors},
};

/* Obeys the argument; returns true if the word is known. */
static int act(const struct preforkd_host *host, const char *step)
{
    const char *word = host->arg(host, step);
    lent = host;
    for (size_t i = 0; word && i < sizeof deeds / sizeof *deeds; i++)
        if (strcmp(deeds[i].name, word) == 0) {
            deeds[i].deed();
            return 1;
        }
    return 0;
}

/* Refuses if told to, with the text after the colon as the reason. */
static int refuse(const struct preforkd_host *host, const char *step, char *why, size_t size)
{
    const char *word = host->arg(host, step);
    if (act(host, step) || !word || strncmp(word, "refuse:", 7) != 0)
        return 0;
    memset(why, 'x', size);
    if (word[7])
        snprintf(why, size, "%s", word + 7);
    else if (host->arg(host, "silently"))
        why[0] = '\0';
    return -1;
}

static int check(const struct preforkd_host *host, char *why, size_t size)
{
    return refuse(host, "check", why, size);
}

static int start(const struct preforkd_host *host, void **state, char *why, size_t size)
{
    *state = data;
    return refuse(host, "start", why, size);
}

__attribute__((unused)) static int serve(const struct preforkd_host *host,
                                         struct preforkd_conn *conn, void *state)
{
    const char *answer = host->arg(host, "return");
    now = conn;
    if (state != data)
        abort();
    act(host, "serve");
    if (answer)
        return atoi(answer);
    for (;;) {
        ssize_t n = host->read(conn, data, sizeof data);
        if (n <= 0)
            return (int)n;
        int error = host->write(conn, data, (size_t)n);
        if (error)
            return error;
    }
}

static int lane_start(const struct preforkd_host *host, void *state, void **lane, char *why,
                      size_t size)
{
    *lane = state;
    return refuse(host, "lane_start", why, size);
}

static void lane_stop(const struct preforkd_host *host, void *state, void *lane)
{
    if (state != lane)
        abort();
    act(host, "lane_stop");
}

static void stop(const struct preforkd_host *host, void *state)
{
    host->log(host, PREFORKD_NOTICE, "stops, %s", state == data ? "as it started" : "confused");
    act(host, "stop");
}

#ifdef EVIL_CONSTRUCTOR
__attribute__((constructor)) static void construct(void)
{
    EVIL_CONSTRUCTOR();
}
#endif

#ifdef EVIL_UNDEFINED
int nowhere_defined(void);
__attribute__((constructor)) static void use(void)
{
    nowhere_defined();
}
#endif

extern const struct preforkd_module EVIL_SYMBOL __attribute__((visibility("default")));

const struct preforkd_module EVIL_SYMBOL = {
    .abi = EVIL_ABI,
    .size = EVIL_SIZE,
    .check = check,
    .start = start,
    .serve = EVIL_SERVE,
    .stop = stop,
    .models = PREFORKD_THREAD | PREFORKD_EVENT,
    .lane_start = lane_start,
    .lane_stop = lane_stop,
};
