#include "log.h"

#include "entry.h"
#include "kernel.h"
#include "record.h"
#include "text.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum {
    LINE_TIMEOUT_MSEC = 50,   /* how long one line may wait for a slow syslog daemon */
    STUCK_USEC = 1000 * 1000, /* after such a timeout, no line waits for this long */
};

static const char dev_log[] = "/dev/log", journal[] = "/run/systemd/journal/socket";

static struct {
    char ident[65];
    int facility;
    int level;
    pid_t opener;          /* the process that called log_open; any other is a child */
    const char *syslog;    /* the path of the syslog daemon's or the journal's socket */
    int syslog_fd;         /* -1: none */
    pid_t syslog_owner;    /* the process that opened it, which alone uses it */
    bool syslog_is_public; /* any user may connect: a child can do so after it changes user */
    int stderr_fd;         /* leads to the original standard error; -1: none */
    char stderr_path[48];  /* of its file, for children to open */
    enum way {
        WAY_OWN,    /* reopened: no other process has this open file description */
        WAY_SOCKET, /* can't be reopened, but MSG_DONTWAIT works */
        WAY_SHARED, /* neither: see write_now */
    } stderr_way;
    bool to_stderr, json;
    bool errors_to_stderr;
    bool stderr_is_withheld; /* from children */
    usec stuck_until;
    unsigned lost; /* lines since the last one that arrived */
} log_state = {
    .ident = "preforkd",
    .facility = LOG_DAEMON,
    .level = LOG_NOTICE,
    .syslog = dev_log,
    .syslog_fd = -1,
    .stderr_fd = -1,
};

/* Serialises the threads of a worker. The holder may wait for a slow syslog daemon, but only as
 * long as one line may; after that timeout no line waits. The holder can't die alone: a dying
 * thread ends the whole process. And a child is forked only while there is one thread, so no child
 * inherits the mutex locked. */
static pthread_mutex_t writing = PTHREAD_MUTEX_INITIALIZER;

static bool is_child(void)
{
    return log_state.opener != getpid();
}

static bool syslog_connect(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strcpy(address.sun_path, log_state.syslog);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    if (connect(fd, (const struct sockaddr *)&address, sizeof address) != 0) {
        close(fd);
        return false;
    }
    log_state.syslog_fd = fd;
    log_state.syslog_owner = getpid();
    return true;
}

/* A child inherits its parent's values, but has closed that socket. It doesn't reset them before it
 * has a line to log, because that would cost it a page of memory. */
static bool syslog_is_ours(void)
{
    return log_state.syslog_fd >= 0 && log_state.syslog_owner == getpid();
}

/* A restarted syslog daemon has a new socket at the old path. The new connection takes over the old
 * descriptor's number, because the caller may keep that number in a list, unless the number is
 * beyond the limit of open files by now. */
static bool syslog_reconnect(void)
{
    int old = log_state.syslog_fd;
    if (!syslog_connect())
        return false;
    if (dup3(log_state.syslog_fd, old, O_CLOEXEC) < 0) {
        close(old);
        return true;
    }
    close(log_state.syslog_fd);
    log_state.syslog_fd = old;
    return true;
}

static int open_anew(const char *path)
{
    return open(path, O_WRONLY | O_APPEND | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
}

/* Reopens the file of a descriptor, to get an open file description whose flags and offset are not
 * shared. It never blocks, and appends, because others write to the same file. -1 for a socket,
 * without /proc, or if we may not open the file. */
static int reopen(int fd)
{
    char name[ENTRY_HELD];
    return open_anew(entry_held(name, fd));
}

/* Sets O_APPEND on the shared description too: otherwise its writers would overwrite what is
 * written through the others. */
static void open_stderr(void)
{
    struct stat file;
    bool known = fstat(STDERR_FILENO, &file) == 0;
    int flags = fcntl(STDERR_FILENO, F_GETFL);
    if (known && S_ISREG(file.st_mode) && flags >= 0 && !(flags & O_APPEND))
        fcntl(STDERR_FILENO, F_SETFL, flags | O_APPEND);
    log_state.stderr_fd = reopen(STDERR_FILENO);
    snprintf(log_state.stderr_path, sizeof log_state.stderr_path, "/proc/%d/fd/%d", (int)getpid(),
             log_state.stderr_fd);
    if (log_state.stderr_fd >= 0)
        return;
    log_state.stderr_fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    log_state.stderr_way = known && S_ISSOCK(file.st_mode) ? WAY_SOCKET : WAY_SHARED;
}

/* Whether standard error is a stream of the journal (systemd.exec(5), JOURNAL_STREAM). */
static bool stderr_is_journal(void)
{
    const char *stream = getenv("JOURNAL_STREAM");
    unsigned long long device, inode;
    struct stat file;
    return stream && sscanf(stream, "%llu:%llu", &device, &inode) == 2 &&
           fstat(STDERR_FILENO, &file) == 0 && file.st_dev == device && file.st_ino == inode;
}

/* Uses the journal's native socket if /dev/log is the journal's own, or if there is no /dev/log and
 * standard error is the journal. If another syslog daemon owns /dev/log, that daemon gets the
 * lines. */
static const char *find_syslog(void)
{
    static const char journals[] = "/run/systemd/journal/dev-log";
    char real[PATH_MAX];
    bool is_journal = realpath(dev_log, real) ? strcmp(real, journals) == 0 : stderr_is_journal();
    return is_journal && access(journal, W_OK) == 0 ? journal : dev_log;
}

void log_open(const char *ident, bool to_stderr)
{
    struct stat file;
    tzset(); /* a worker in a chroot can't read the time zone later */
    snprintf(log_state.ident, sizeof log_state.ident, "%s", ident);
    log_state.opener = getpid();
    open_stderr();
    log_state.syslog = find_syslog();
    log_state.to_stderr = !syslog_connect() || to_stderr;
    log_state.syslog_is_public =
        geteuid() != 0 || (stat(log_state.syslog, &file) == 0 && file.st_mode & S_IWOTH);
}

void log_errors_to_stderr(bool wanted)
{
    log_state.errors_to_stderr = wanted && !stderr_is_journal();
}

void log_withhold_stderr(void)
{
    log_state.stderr_is_withheld = true;
}

/* Reopens standard error in a child, by the path that log_open wrote, which leads through the /proc
 * directory of the process that called it: looking up a new process in /proc costs a tenth of a
 * worker's start, and formatting a path touches libc pages that the worker needs for nothing else.
 * If the child may not open that path, it tries its own /proc directory.
 *
 * The child needs an open file description of its own, because through its parent's it could make
 * the parent block, and write at any offset. A child never gets a socket, because any process that
 * holds a socket can shut it down; nor, under root, a description that is shared. Then the child's
 * lines go to syslog, or through the parent. */
static void reopen_stderr_in_child(void)
{
    int fd = -1;
    if (log_state.stderr_way == WAY_OWN && (fd = open_anew(log_state.stderr_path)) < 0)
        fd = reopen(log_state.stderr_fd);
    if (fd >= 0 && dup3(fd, log_state.stderr_fd, O_CLOEXEC) >= 0)
        close(fd);
    else
        log_state.stderr_fd = -1;
}

void log_enter_child(bool cut_off)
{
    /* Written only if they change: a write would cost the child a page of memory. */
    if (log_state.errors_to_stderr)
        log_state.errors_to_stderr = false;
    if (log_state.stderr_is_withheld && log_state.to_stderr)
        log_state.to_stderr = false;
    bool shared = log_state.stderr_way == WAY_SHARED && geteuid() != 0;
    if (log_state.to_stderr && log_state.stderr_fd >= 0 && !shared)
        reopen_stderr_in_child();
    if (log_state.syslog_fd >= 0 && (cut_off || !log_state.syslog_is_public))
        syslog_connect();
}

void log_leave_stderr(void)
{
    if (log_state.stderr_fd >= 0)
        close(log_state.stderr_fd);
    log_state.stderr_fd = -1;
}

void log_configure(const char *ident, int facility, int level, bool json)
{
    if (strcmp(log_state.ident, ident) == 0 && log_state.facility == facility &&
        log_state.level == level && log_state.json == json)
        return; /* a write would cost a worker a page of memory */
    snprintf(log_state.ident, sizeof log_state.ident, "%s", ident);
    log_state.facility = facility;
    log_state.level = level;
    log_state.json = json;
}

int log_descriptors(int fds[static 2])
{
    int count = 0;
    if (syslog_is_ours())
        fds[count++] = log_state.syslog_fd;
    if (log_state.stderr_fd >= 0 && log_state.to_stderr && !log_state.stderr_is_withheld)
        fds[count++] = log_state.stderr_fd;
    return count;
}

bool log_wanted(int level)
{
    return level <= log_state.level;
}

char *log_value(char *to, size_t size, const char *from)
{
    static const char first[] = " pool=";
    struct text_line out = {.at = to, .room = size};
    to[0] = '\0';
    for (; *from && out.length < size; from++) {
        bool begins = strncmp(from, first, sizeof first - 1) == 0;
        if (begins)
            text_add(&out, "%.*s\\x3d", (int)sizeof first - 2, first);
        else if (*from == '"')
            text_add(&out, "\\x22");
        else
            text_add(&out, "%c", *from);
        from += begins ? sizeof first - 2 : 0;
    }
    return to;
}

const char *log_pool_pair(char to[static LOG_POOL_PAIR], const char *sentence)
{
    static const char pair[] = " pool=";
    const char *name = "";
    int length = record_pool(sentence, &name);
    /* A name that a fault is about may be no name at all: a quote in it would begin a value. */
    bool is_name = length > 0 && length <= LOG_POOL_PAIR - (int)sizeof pair &&
                   !memchr(name, '"', (size_t)length);
    snprintf(to, LOG_POOL_PAIR, "%s%.*s", is_name ? pair : "", is_name ? length : 0, name);
    return to;
}

char *log_quoted(char *to, size_t size, const char *from)
{
    if (!strpbrk(from, " \"")) {
        snprintf(to, size, "%s", from);
        return to;
    }
    to[0] = '"';
    log_value(to + 1, size - 2, from);
    strcat(to, "\"");
    return to;
}

/* How long a line may wait. After a timeout, the next lines don't wait. */
static usec line_deadline(void)
{
    usec now = clock_now();
    bool stuck = log_state.stuck_until && now < log_state.stuck_until;
    return stuck ? now : now + LINE_TIMEOUT_MSEC * 1000;
}

/* Waits for room in the socket or file; true if another try is worthwhile. Other processes may take
 * the room first: then the caller asks again, until the deadline. */
static bool await_room(int fd, usec deadline)
{
    struct pollfd out = {.fd = fd, .events = POLLOUT};
    usec now = clock_now();
    if (now < deadline && poll(&out, 1, (int)((deadline - now) / 1000) + 1) != 0)
        return true;
    log_state.stuck_until = clock_now() + STUCK_USEC;
    return false;
}

/* Sends one datagram within a bounded time. 0 or -errno. */
static int syslog_send(const char *line, int length)
{
    usec deadline = line_deadline();
    for (;;) {
        if (send(log_state.syslog_fd, line, (size_t)length, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0)
            return 0;
        int error = errno;
        if (error != EAGAIN && error != EINTR)
            return -error;
        if (!await_room(log_state.syslog_fd, deadline))
            return -EAGAIN;
    }
}

/* 0 or -errno. */
static int syslog_line(const struct record *record)
{
    char line[RECORD_MAX];
    int length =
        log_state.syslog == journal ? record_journal(line, record) : record_syslog(line, record);
    int error = syslog_send(line, length);
    if (error && error != -EAGAIN && syslog_reconnect())
        error = syslog_send(line, length);
    return error;
}

/* Reports how many lines the syslog daemon did not take, as soon as it takes lines again. */
static void report_lost(const struct record *record)
{
    char text[128];
    struct record lost = *record;
    snprintf(text, sizeof text, "the syslog daemon did not take %u lines of the log lost=%u",
             log_state.lost, log_state.lost);
    lost.level = LOG_WARNING;
    lost.name = LOG_NAME_NONE;
    lost.text = text;
    if (syslog_line(&lost) == 0)
        log_state.lost = 0;
}

/* False if no syslog daemon can take the line. */
static bool syslog_event(const struct record *record)
{
    if (!syslog_is_ours() && !syslog_connect())
        return false;
    if (log_state.lost)
        report_lost(record);
    int error = syslog_line(record);
    if (error && error != -EAGAIN && is_child())
        return false;
    log_state.lost += error != 0;
    return true;
}

/* Writes without waiting. -1 with errno set.
 *
 * A description that only this process has never blocks, because no other process can clear its
 * O_NONBLOCK. For a socket, and for any other file where the kernel supports it, the call itself
 * forbids blocking, whatever the flags are. The rest, such as another user's terminal, may block if
 * a process that shares the description fills it just after poll(2): only the process that started
 * us can do that, or a child if we are not root, and either could stop us anyway. */
static ssize_t write_now(int fd, enum way way, const char *data, size_t size)
{
    struct iovec part = {.iov_base = (char *)data, .iov_len = size};
    struct pollfd out = {.fd = fd, .events = POLLOUT};
    if (way == WAY_OWN)
        return write(fd, data, size);
    if (way == WAY_SOCKET)
        return send(fd, data, size, MSG_NOSIGNAL | MSG_DONTWAIT);
    ssize_t n = kernel_write_now(fd, &part);
    if (n >= 0 || (errno != EOPNOTSUPP && errno != ENOSYS))
        return n;
    if (poll(&out, 1, 0) > 0)
        return write(fd, data, size);
    errno = EAGAIN;
    return -1;
}

/* Takes a bounded time, because a terminal may be stopped, and a pipe unread. */
static void write_line(int fd, enum way way, const char *line, size_t length)
{
    usec deadline = line_deadline();
    while (length) {
        ssize_t n = write_now(fd, way, line, length);
        if (n < 0 && errno != EAGAIN && errno != EINTR)
            return;
        if (n <= 0 && !await_room(fd, deadline))
            return;
        line += n > 0 ? n : 0;
        length -= n > 0 ? (size_t)n : 0;
    }
}

/* A child may reach neither syslog nor our standard error, because its root directory has no syslog
 * socket, or it is out of descriptors. Then it writes to its own standard error, which the master
 * logs. */
static void stderr_event(const struct record *record, bool syslog_has_it)
{
    char line[RECORD_MAX];
    bool wanted = log_state.to_stderr || (record->level <= LOG_ERR && log_state.errors_to_stderr);
    if (wanted && log_state.stderr_fd >= 0) {
        int length = log_state.json ? record_json(line, record) : record_plain(line, record);
        write_line(log_state.stderr_fd, log_state.stderr_way, line, (size_t)length);
    } else if (!syslog_has_it && is_child()) {
        int length = snprintf(line, sizeof line, "%s\n", record->text);
        write_line(STDERR_FILENO, WAY_SHARED, line, (size_t)length);
    }
}

void log_named(enum log_name name, int level, const char *format, ...)
{
    if (!log_wanted(level))
        return;
    int saved = errno;
    char raw[LOG_LINE_MAX];
    char text[LOG_LINE_MAX];
    va_list args;
    va_start(args, format);
    int length = vsnprintf(raw, sizeof raw, format, args);
    va_end(args);
    if (length < 0)
        length = 0;
    if (length >= (int)sizeof raw)
        length = (int)sizeof raw - 1;
    text_escape(text, sizeof text, raw, (size_t)length);
    const struct record record = {level, log_state.facility, name, log_state.ident, getpid(), text};
    pthread_mutex_lock(&writing);
    stderr_event(&record, syslog_event(&record));
    pthread_mutex_unlock(&writing);
    errno = saved;
}

bool log_rate_ok(struct log_rate *rate, usec interval, unsigned *missed)
{
    usec now = clock_now(), next = rate->next;
    if (now < next || !atomic_compare_exchange_strong(&rate->next, &next, now + interval)) {
        rate->missed++;
        return false;
    }
    *missed = atomic_exchange(&rate->missed, 0);
    return true;
}
