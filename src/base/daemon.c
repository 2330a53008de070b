#include "daemon.h"

#include "entry.h"
#include "fd.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static char *title_memory;
static size_t title_size;
static size_t title_used; /* the rest is zero */
static struct rlimit first_nofile;

/* Moves *end past those texts of the list that follow one another from *end on. Returns the number
 * of texts in the list. */
static int find_end(char **texts, char **end)
{
    int count = 0;
    for (; texts[count]; count++)
        if (texts[count] == *end)
            *end += strlen(texts[count]) + 1;
    return count;
}

/* Copies a list, with the texts in the title's memory replaced by those in its copy. */
static void move_texts(char **to, char **from, int count, char *copy)
{
    for (int i = 0; i < count; i++) {
        bool in_title = from[i] >= title_memory && from[i] < title_memory + title_size;
        to[i] = in_title ? copy + (from[i] - title_memory) : from[i];
    }
}

char **daemon_title_init(int argc, char **argv)
{
    static char *copy __attribute__((used)); /* of the texts; never freed */
    static char **lists __attribute__((used));
    if (argc < 1)
        return argv;
    char *end = argv[0];
    find_end(argv, &end);
    int variables = find_end(environ, &end);
    copy = malloc((size_t)(end - argv[0]));
    lists = calloc((size_t)(argc + variables) + 2, sizeof *lists);
    if (!copy || !lists)
        return argv;
    title_memory = argv[0];
    title_used = title_size = (size_t)(end - argv[0]);
    memcpy(copy, title_memory, title_size);
    move_texts(lists, argv, argc, copy);
    move_texts(lists + argc + 1, environ, variables, copy);
    environ = lists + argc + 1;
    return lists;
}

/* Plain loops: each libc function that a starting worker calls may cost it a page fault. */
size_t daemon_title(const char *title)
{
    size_t length = 0;
    if (!title_memory)
        return 0;
    for (; title[length] && length + 1 < title_size; length++)
        title_memory[length] = title[length];
    for (size_t at = length; at < title_used; at++)
        title_memory[at] = '\0';
    if (title_used == title_size || title_used < length)
        title_used = length;
    return length;
}

char *daemon_title_memory(void)
{
    return title_memory;
}

void daemon_raise_nofile(void)
{
    if (getrlimit(RLIMIT_NOFILE, &first_nofile) != 0)
        return;
    struct rlimit most = {.rlim_cur = first_nofile.rlim_max, .rlim_max = first_nofile.rlim_max};
    setrlimit(RLIMIT_NOFILE, &most);
}

rlim_t daemon_first_nofile(void)
{
    return first_nofile.rlim_cur;
}

void daemon_set_first_nofile(rlim_t soft)
{
    first_nofile.rlim_cur = soft;
}

void daemon_restore_nofile(void)
{
    if (first_nofile.rlim_max)
        setrlimit(RLIMIT_NOFILE, &first_nofile);
}

const char *daemon_absolute(const char *path)
{
    char *whole = NULL, *here = NULL;
    if (!path || path[0] == '/' || !(here = getcwd(NULL, 0)))
        return path;
    if (asprintf(&whole, "%s/%s", here, path) < 0)
        whole = NULL;
    free(here);
    return whole ? whole : path;
}

const char *daemon_program(const char *called)
{
    if (strchr(called, '/')) {
        const char *path = daemon_absolute(called);
        if (access(path, X_OK) == 0)
            return path;
    }
    /* The name was found in PATH, or is not a path at all: ask the kernel what we run. */
    char path[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", path, sizeof path - 1);
    return length > 0 ? strndup(path, (size_t)length) : NULL;
}

/* Whether the file holds a number, or nothing, and not something else that was named by mistake. In
 * a directory that others may write to, the file may be theirs, or a hard link that they made to
 * another file of ours: neither may be overwritten. */
static bool is_pidfile(int fd)
{
    char text[16];
    struct stat stat;
    if (fstat(fd, &stat) != 0 || !S_ISREG(stat.st_mode) || stat.st_uid != geteuid() ||
        stat.st_nlink > 1)
        return false;
    ssize_t n = read(fd, text, sizeof text);
    if (n < 0 || n == (ssize_t)sizeof text)
        return false;
    for (ssize_t i = 0; i < n; i++)
        if (!strchr("0123456789 \n", text[i]) || !text[i])
            return false;
    return true;
}

/* Locks and checks the file, and checks that its name still leads to it, before it changes
 * anything: a user who may write to the directory can replace the name at any time, but not what we
 * hold open. */
static int open_pidfile(const struct entry *entry)
{
    int fd = openat(entry->directory, entry->name,
                    O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0644);
    if (fd < 0)
        return -errno;
    char text[16];
    int error, length = snprintf(text, sizeof text, "%d\n", (int)getpid());
    struct inode inode = inode_of_fd(fd);
    if (flock(fd, LOCK_EX | LOCK_NB) != 0)
        error = -errno;
    else if (!entry_is(entry, &inode)) /* the previous holder has just removed it */
        error = -ESTALE;
    else if (!is_pidfile(fd))
        error = -EEXIST;
    else if (ftruncate(fd, 0) != 0 || lseek(fd, 0, SEEK_SET) != 0)
        error = -errno;
    else if ((error = fd_write(fd, text, (size_t)length)) != 0)
        entry_unlink(entry, &inode); /* on a full disk: an empty file tells nobody anything */
    if (error == 0)
        return fd;
    close(fd);
    return error;
}

int daemon_pidfile_open(const char *path)
{
    struct entry entry __attribute__((cleanup(entry_close))) = {.directory = -1};
    int result = entry_open(&entry, path);
    if (result)
        return result;
    result = -ESTALE;
    for (int tries = 0; tries < 10 && result == -ESTALE; tries++)
        result = open_pidfile(&entry);
    return result;
}

void daemon_pidfile_close(const char *path, int fd)
{
    struct entry entry __attribute__((cleanup(entry_close))) = {.directory = -1};
    struct inode inode = inode_of_fd(fd);
    if (fd >= 0 && entry_open(&entry, path) == 0)
        entry_unlink(&entry, &inode);
    fd_cleanup(&fd);
}

/* In the process that the user started: exits with the daemon's status, or 70 if the daemon
 * died. */
static void wait_for_status(int fd, pid_t session)
{
    unsigned char status;
    ssize_t n;
    do
        n = read(fd, &status, 1);
    while (n < 0 && errno == EINTR);
    waitpid(session, NULL, 0);
    _exit(n == 1 ? status : 70);
}

int daemon_detach(void)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0)
        return -errno;
    pid_t session = fork();
    if (session < 0) {
        int error = -errno;
        close(ends[0]);
        close(ends[1]);
        return error;
    }
    if (session > 0) {
        close(ends[1]);
        wait_for_status(ends[0], session);
    }
    close(ends[0]);
    setsid();
    pid_t daemon = fork(); /* not a session leader: can't get a terminal again */
    if (daemon != 0)
        _exit(daemon < 0 ? 70 : 0);
    return ends[1];
}

void daemon_detached(int fd, int status)
{
    unsigned char byte = (unsigned char)status;
    fd_write(fd, &byte, 1);
    close(fd);
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int i = 0; null >= 0 && i <= STDERR_FILENO; i++)
        dup2(null, i);
    if (null > STDERR_FILENO)
        close(null);
}

const char *daemon_signal_word(int number)
{
    static const char *const words[] = {
        [SIGHUP] = "HUP",   [SIGINT] = "INT",       [SIGQUIT] = "QUIT", [SIGILL] = "ILL",
        [SIGTRAP] = "TRAP", [SIGABRT] = "ABRT",     [SIGBUS] = "BUS",   [SIGFPE] = "FPE",
        [SIGKILL] = "KILL", [SIGUSR1] = "USR1",     [SIGSEGV] = "SEGV", [SIGUSR2] = "USR2",
        [SIGPIPE] = "PIPE", [SIGALRM] = "ALRM",     [SIGTERM] = "TERM", [SIGSTKFLT] = "STKFLT",
        [SIGCHLD] = "CHLD", [SIGCONT] = "CONT",     [SIGSTOP] = "STOP", [SIGTSTP] = "TSTP",
        [SIGTTIN] = "TTIN", [SIGTTOU] = "TTOU",     [SIGURG] = "URG",   [SIGXCPU] = "XCPU",
        [SIGXFSZ] = "XFSZ", [SIGVTALRM] = "VTALRM", [SIGPROF] = "PROF", [SIGWINCH] = "WINCH",
        [SIGIO] = "POLL",   [SIGPWR] = "PWR",       [SIGSYS] = "SYS",
    };
    static char digits[12];
    enum { WORDS = sizeof words / sizeof *words };
    if (number > 0 && number < WORDS && words[number])
        return words[number];
    snprintf(digits, sizeof digits, "%d", number);
    return digits;
}
