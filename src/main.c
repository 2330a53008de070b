/*
 * main - the command line, and the order in which the daemon's parts start and end.
 */
#include "base/daemon.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/sysd.h"
#include "board/exitcode.h"
#include "handlers/handler.h"
#include "master/check.h"
#include "master/commands.h"
#include "master/handoff.h"
#include "master/main_loop.h"

#include "build-config.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define UNREADABLE "the state of the running daemon can't be read"

struct command_line {
    const char *config;
    const char *pidfile;
    const char *program;
    bool test, dump, daemon, to_stderr;
};

/* What the daemon holds beside the master. */
struct session {
    const struct command_line *line;
    int detach_fd;  /* to the process that started us with -d; -1: none waits */
    int pidfile_fd; /* -1: none */
    int state_fd;   /* from the binary that we replace; -1: we replace none */
    struct state state;
    struct inherited inherited; /* used if the state is unusable */
};

static void print_usage(FILE *out)
{
    fputs("usage: preforkd [-c FILE] [-d] [-e] [-p FILE] [-t | -T] [-V] [-h]\n"
          "  -c, --config FILE   read FILE (" PREFORKD_SYSCONFDIR "/preforkd/preforkd.conf)\n"
          "  -d, --daemon        detach; return when the pools serve, or with the error\n"
          "  -e, --stderr        log to standard error too\n"
          "  -p, --pidfile FILE  write and lock a pid file\n"
          "  -t, --test          check the configuration, report all errors\n"
          "  -T, --dump          the same, and print the effective configuration\n"
          "  -V, --version       print the version and what is built in\n"
          "  -h, --help          print this\n",
          out);
}

static void print_version(void)
{
    static const char sign[] = {'-', '+'};
    printf("preforkd %s\n%csystemd %cjansson %cmicrohttpd %ccapng %cseccomp\nhandlers:",
           PREFORKD_VERSION, sign[HAVE_SYSTEMD], sign[HAVE_JANSSON], sign[HAVE_MICROHTTPD],
           sign[HAVE_CAPNG], sign[HAVE_SECCOMP]);
    for (int i = 0; handler_sections[i]; i++)
        printf(" %s", handler_sections[i]->name);
    printf("\n");
}

/* -1: go on; else the exit status. */
static int parse_command_line(struct command_line *line, int argc, char **argv)
{
    static const struct option options[] = {
        {"config", required_argument, NULL, 'c'},
        {"daemon", no_argument, NULL, 'd'},
        {"stderr", no_argument, NULL, 'e'},
        {"pidfile", required_argument, NULL, 'p'},
        {"test", no_argument, NULL, 't'},
        {"dump", no_argument, NULL, 'T'},
        {"version", no_argument, NULL, 'V'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    int letter;
    while ((letter = getopt_long(argc, argv, "c:dep:tTVh", options, NULL)) != -1) {
        switch (letter) {
        case 'c': line->config = optarg; break;
        case 'd': line->daemon = true; break;
        case 'e': line->to_stderr = true; break;
        case 'p': line->pidfile = optarg; break;
        case 't': line->test = true; break;
        case 'T': line->dump = true; break;
        case 'V': print_version(); return EXIT_STOPPED;
        case 'h': print_usage(stdout); return EXIT_STOPPED;
        default: print_usage(stderr); return EXIT_USAGE;
        }
    }
    if (optind == argc && !(line->test && line->dump))
        return -1;
    if (optind < argc)
        fprintf(stderr, "preforkd: unexpected argument \"%s\"\n", argv[optind]);
    else
        fprintf(stderr, "preforkd: -t and -T exclude each other\n");
    print_usage(stderr);
    return EXIT_USAGE;
}

/* Opens 0, 1 and 2 where they are closed, so that no file of ours gets one of these numbers. */
static void open_standard_descriptors(void)
{
    int fd;
    do
        fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd >= 0)
        close(fd);
    for (int i = 0; i <= STDERR_FILENO; i++)
        fcntl(i, F_SETFD, 0);
}

/* The master reads and prints nothing. The workers need the null device as 0 (see worker.c). */
static void detach_standard_input_and_output(void)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null < 0)
        return;
    dup2(null, STDIN_FILENO);
    dup2(null, STDOUT_FILENO);
    close(null);
}

/* What the default action does to any other process. */
static void exit_by_signal(int number)
{
    _exit(128 + number);
}

/* Undoes what our parent has blocked or ignored, for us and for what we run. Ignores USR2 until
 * hold_signals(), because a package's script may send it early to have the daemon upgraded.
 * Ignores XFSZ, so that a write to a log that may not grow (ulimit -f) fails, and ends nobody. */
static void reset_signals(void)
{
    static const struct sigaction by_default = {.sa_handler = SIG_DFL};
    static const struct sigaction ignored = {.sa_handler = SIG_IGN};
    sigset_t none;
    for (int number = 1; number < NSIG; number++)
        sigaction(number, &by_default, NULL);
    /* The first process of a PID namespace gets no signal for which it has no handler
     * (pid_namespaces(7)). It must be possible to end us before the loop handles these, because the
     * check of the configuration may take long. */
    if (getpid() == 1) {
        static const struct sigaction fatal = {.sa_handler = exit_by_signal};
        sigaction(SIGTERM, &fatal, NULL);
        sigaction(SIGINT, &fatal, NULL);
        sigaction(SIGQUIT, &fatal, NULL);
    }
    sigaction(SIGPIPE, &ignored, NULL);
    sigaction(SIGUSR2, &ignored, NULL);
    sigaction(SIGXFSZ, &ignored, NULL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

/* Keeps signals pending until the master reads them (signalfd). By default some would end the
 * daemon while it starts, and others would stop it. TERM, INT and QUIT end the start at once. */
static void hold_signals(void)
{
    static const int others[] = {SIGTERM, SIGINT, SIGQUIT, SIGCHLD};
    sigset_t held;
    commands_signals(&held);
    for (unsigned i = 0; i < sizeof others / sizeof *others; i++)
        sigdelset(&held, others[i]);
    sigprocmask(SIG_BLOCK, &held, NULL);
}

/* `kind` precedes each text: "warning: ", or nothing for a fault. */
static void print_faults(const struct faults *faults, const char *kind)
{
    char place[FAULT_PLACE];
    for (const struct fault *f = faults->first; f; f = f->next)
        fprintf(stderr, "%s: %s%s\n", fault_place(f, place), kind, f->text);
    if (faults->count > FAULTS_MAX)
        fprintf(stderr, "and %u more\n", faults->count - FAULTS_MAX);
}

static void log_faults(const struct faults *faults, int level)
{
    char place[FAULT_PLACE], pair[LOG_POOL_PAIR];
    for (const struct fault *f = faults->first; f; f = f->next)
        log_event(level, "%s: %s%s", fault_place(f, place), f->text, log_pool_pair(pair, f->text));
    if (faults->count > FAULTS_MAX)
        log_event(level, "and %u more", faults->count - FAULTS_MAX);
}

static int test_config(struct session *session)
{
    const struct command_line *line = session->line;
    bool trial = session->state_fd >= 0; /* the running master asks whether we can replace it */
    char why[200];
    if (trial && upgrade_read(session->state_fd, &session->state, why, sizeof why) != 0) {
        fprintf(stderr, "preforkd: " UNREADABLE ": %s\n", why);
        return EXIT_START_FAILED;
    }
    int error = trial ? master_try(&session->state, line->config) : 0;
    if (error) {
        fprintf(stderr, "preforkd: can't go on with what the binary before has: %s\n",
                strerror(-error));
        return EXIT_START_FAILED;
    }
    struct config *config = config_new();
    if (!config) {
        perror("preforkd");
        return EXIT_START_FAILED;
    }
    config->fresh = !trial;
    bool right = check_config(config, line->config);
    print_faults(&config->faults, "");
    print_faults(&config->warnings, "warning: ");
    if (right && line->dump)
        config_dump(config, stdout);
    else if (right)
        printf("%s: the configuration is right: %d pool%s\n", line->config, config->pool_count,
               config->pool_count == 1 ? "" : "s");
    if (right && trial)
        printf(UPGRADE_UNDERSTOOD "\n");
    config_unref(config);
    state_free(&session->state);
    int status = right ? EXIT_STOPPED : EXIT_CONFIG;
    if (right && (fflush(stdout) != 0 || ferror(stdout))) { /* a full disk cut the dump */
        perror("preforkd: standard output");
        status = EXIT_START_FAILED;
    }
    if (trial) /* no clean-up: what we have adopted belongs to the running master */
        _exit(status);
    return status;
}

/* Every pool serves: lets the process that started us with -d exit. */
static void on_serving(void *owner)
{
    struct session *session = owner;
    if (session->detach_fd < 0)
        return;
    log_leave_stderr();
    daemon_detached(session->detach_fd, EXIT_STOPPED);
    session->detach_fd = -1;
}

static int start_failed(const char *what, int error)
{
    log_err("can't start: %s: %s", what, strerror(error));
    return EXIT_START_FAILED;
}

static int open_pidfile(struct session *session)
{
    const char *path = session->line->pidfile;
    if (!path)
        return 0;
    session->pidfile_fd = daemon_pidfile_open(path);
    if (session->pidfile_fd >= 0)
        return 0;
    if (session->pidfile_fd == -EWOULDBLOCK)
        log_err("can't start: another daemon holds the pid file %s", path);
    else if (session->pidfile_fd == -EEXIST)
        log_err("can't start: %s exists, and is not a pid file of preforkd: it is left unchanged",
                path);
    else
        return start_failed(path, -session->pidfile_fd);
    return EXIT_START_FAILED;
}

/* NULL on failure, which is logged. */
static struct master *open_master(struct session *session)
{
    static const char *arguments[8]; /* for an upgrade */
    const struct command_line *line = session->line;
    const char **next = arguments;
    *next++ = line->program;
    if (line->daemon)
        *next++ = "-d";
    if (line->to_stderr)
        *next++ = "-e";
    *next++ = "-c";
    *next++ = line->config;
    if (line->pidfile) {
        *next++ = "-p";
        *next++ = line->pidfile;
    }
    struct upgrade_self self = {.program = line->program,
                                .arguments = arguments,
                                .config = line->config,
                                .pidfile_fd = session->pidfile_fd};
    struct master *master = arena_unforked(sizeof *master);
    sigset_t signals;
    commands_signals(&signals);
    int error = master ? master_open(master, &signals, &self) : -ENOMEM;
    if (error) {
        start_failed("the master", -error);
        return NULL;
    }
    master->on_serving = on_serving;
    master->owner = session;
    return master;
}

static int run_master(struct session *session, struct config *config)
{
    struct master *master = open_master(session);
    if (!master) {
        config_unref(config);
        return EXIT_START_FAILED;
    }
    master->runtime.listeners = session->inherited.listeners;
    master->runtime.control = session->inherited.control;
    master->runtime.programs_left = session->inherited.program_count > 0;
    upgrade_await_programs(&master->upgrade, &session->inherited, config->graceful_timeout);
    int status = EXIT_START_FAILED;
    if (master_start(master, config) == 0) { /* the master owns the configuration from here on */
        status = main_loop_run(master);
    } else {
        log_faults(&config->faults, LOG_ERR);
        config_unref(config);
    }
    master_close(master);
    munmap(master, sizeof *master);
    return status;
}

static void show_title(const struct command_line *line)
{
    char title[256];
    snprintf(title, sizeof title, "preforkd: master %s", line->config);
    daemon_title(title);
}

/* 0 and the checked configuration; or an exit status, with the faults logged. */
static int load_config(const struct command_line *line, bool fresh, struct config **loaded)
{
    struct config *config = config_new();
    if (!config)
        return start_failed("the configuration", errno);
    config->fresh = fresh;
    if (!check_config(config, line->config)) {
        log_faults(&config->faults, LOG_ERR);
        config_unref(config);
        return EXIT_CONFIG;
    }
    *loaded = config;
    return 0;
}

static int serve(struct session *session)
{
    const struct command_line *line = session->line;
    log_errors_to_stderr(true);
    if (line->daemon)
        log_withhold_stderr();
    int error = sysd_open();
    if (error < 0)
        return start_failed("LISTEN_FDS", -error);
    daemon_raise_nofile();
    struct config *config;
    int status = load_config(line, true, &config);
    if (status != 0)
        return status;
    detach_standard_input_and_output();
    show_title(line);
    status = open_pidfile(session);
    if (status != 0) {
        config_unref(config);
        return status;
    }
    log_configure(config->log.ident, config->log.facility, config->log.level,
                  config->log.format_choice == LOG_FORMAT_JSON);
    log_named(LOG_NAME_START, LOG_NOTICE, "preforkd %s starts with %s", PREFORKD_VERSION,
              config->file);
    log_faults(&config->warnings, LOG_WARNING);
    return run_master(session, config);
}

/* After an upgrade whose state is unusable: starts as serve does, on the listeners among the open
 * descriptors, and tells the old workers to finish. */
static int start_over(struct session *session, const char *why)
{
    const struct command_line *line = session->line;
    log_err("upgrade: can't go on with what the binary before has: %s; starting anew on its "
            "listeners, its workers finish",
            why);
    int error = sysd_take_handed_on();
    if (error)
        log_err("upgrade: can't tell which sockets systemd passed: %s", strerror(-error));
    inherited_take(&session->inherited, line->pidfile);
    session->pidfile_fd = session->inherited.pidfile_fd;
    inherited_retire_children(&session->inherited);
    struct config *config;
    int status = load_config(line, false, &config);
    if (status != 0)
        return status;
    inherited_find_control(&session->inherited, config->control);
    log_configure(config->log.ident, config->log.facility, config->log.level,
                  config->log.format_choice == LOG_FORMAT_JSON);
    return run_master(session, config);
}

/* After an upgrade: resumes from the state, with everything open, bound and locked that the old
 * binary had. */
static int resume(struct session *session)
{
    char why[200];
    sysd_open();
    daemon_raise_nofile();
    show_title(session->line);
    if (session->line->daemon)
        log_leave_stderr();
    if (upgrade_read(session->state_fd, &session->state, why, sizeof why) != 0)
        return start_over(session, why);
    close(session->state_fd);
    const struct state_daemon *daemon = state_at(&session->state, STATE_DAEMON, 0);
    session->pidfile_fd = (int)daemon->pidfile_fd;
    daemon_set_first_nofile((rlim_t)daemon->nofile);
    log_configure(daemon->log_ident, (int)daemon->log_facility, (int)daemon->log_level,
                  daemon->log_json);
    struct master *master = open_master(session);
    if (!master)
        return start_over(session, "the master can't be opened");
    int error = master_resume(master, &session->state);
    if (error) /* leaks what the master has adopted by then */
        return start_over(session, strerror(-error));
    sysd_take_back(); /* only start_over needs what was handed on */
    commands_adopt_callers(master, &session->state);
    state_free(&session->state);
    int status = main_loop_run(master);
    master_close(master);
    munmap(master, sizeof *master);
    return status;
}

/* Detaches, and leaves the directory in which we were started. */
static int detach(struct session *session, struct command_line *line)
{
    line->config = daemon_absolute(line->config);
    if (line->pidfile)
        line->pidfile = daemon_absolute(line->pidfile);
    session->detach_fd = daemon_detach();
    if (session->detach_fd < 0) {
        fprintf(stderr, "preforkd: can't detach: %s\n", strerror(-session->detach_fd));
        return EXIT_START_FAILED;
    }
    return chdir("/") == 0 ? 0 : EXIT_START_FAILED;
}

int main(int argc, char **argv)
{
    static struct command_line line = {.config = PREFORKD_SYSCONFDIR "/preforkd/preforkd.conf"};
    static struct session session = {.line = &line, .detach_fd = -1, .pidfile_fd = -1};
    open_standard_descriptors();
    argv = daemon_title_init(argc, argv);
    int status = parse_command_line(&line, argc, argv);
    if (status >= 0)
        return status;
    session.state_fd = upgrade_state_fd();
    if (session.state_fd < 0) /* after an upgrade they stay blocked, as the old binary left them */
        reset_signals();
    if (line.test || line.dump)
        return test_config(&session);
    hold_signals();
    line.program = daemon_program(argv[0] ? argv[0] : "");
    status = line.daemon && session.state_fd < 0 ? detach(&session, &line) : 0;
    if (status == 0) {
        log_open("preforkd", line.to_stderr || (!line.daemon && isatty(STDERR_FILENO)));
        status = session.state_fd < 0 ? serve(&session) : resume(&session);
        daemon_pidfile_close(line.pidfile, session.pidfile_fd);
    }
    if (session.detach_fd >= 0 && status == EXIT_STOPPED) {
        fputs("preforkd: stopped before every pool served\n", stderr);
        status = EXIT_START_FAILED;
    }
    if (session.detach_fd >= 0)
        daemon_detached(session.detach_fd, status);
    return status;
}
