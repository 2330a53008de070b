#include "main_loop.h"

#include "../base/daemon.h"
#include "../base/log.h"
#include "command_table.h"
#include "commands.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Whose process it was, for people; "?" where it is gone or not to be seen. */
static const char *command_of(pid_t pid, char *name, size_t size)
{
    char path[32];
    snprintf(path, sizeof path, "/proc/%d/comm", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, name, size - 1);
    if (fd >= 0)
        close(fd);
    if (n <= 0)
        return "?";
    name[n] = '\0';
    name[strcspn(name, "\n")] = '\0';
    return name;
}

/* A terminal that we run in was resized: nobody asked for a drain. */
static bool is_terminals(const struct signalfd_siginfo *info)
{
    return info->ssi_signo == SIGWINCH && info->ssi_code == SI_KERNEL;
}

/* Does what the signals that have come ask for. Whether a child's death was among them. */
static bool obey(struct master *master)
{
    bool deaths = false;
    struct signalfd_siginfo info;
    int number;
    while ((number = loop_signal(&master->loop, &info)) != 0) {
        char name[32];
        const struct command *command = command_table_by_signal(number);
        deaths = deaths || number == SIGCHLD;
        if (!command || !command->run || is_terminals(&info))
            continue;
        log_notice("SIG%s from pid %d (%s) uid %d: %s", daemon_signal_word(number),
                   (int)info.ssi_pid,
                   info.ssi_pid ? command_of((pid_t)info.ssi_pid, name, sizeof name) : "the kernel",
                   (int)info.ssi_uid, command->help);
        command->run(master, NULL);
    }
    return deaths;
}

/* Does what has come by the control socket. */
static void obey_words(struct master *master)
{
    struct request *request;
    while ((request = control_next(&master->control))) {
        char name[32];
        const struct command *command = command_table_of_request(request);
        if (!command)
            continue;
        const char *argument = request_argument(request, 1), *more = request_argument(request, 2);
        log_event(command->asks ? LOG_DEBUG : LOG_NOTICE,
                  "preforkctl %s%s%.80s%s%.80s from pid %d (%s) uid %d: %s", command->word,
                  argument ? " " : "", argument ? argument : "", more ? " " : "", more ? more : "",
                  (int)request->pid, command_of(request->pid, name, sizeof name), (int)request->uid,
                  command->help);
        command->run(master, request);
        if (request->status && !command->asks)
            log_notice("preforkctl %s refused: %.*s", command->word, (int)request->failed.used - 1,
                       request->failed.at ? request->failed.at : "");
    }
}

/* Awake far later than asked for: the machine, or this process, was stopped. Those who were to do
 * something meanwhile may have been as well. */
#define LEAP  (2 * USEC_SECOND)
#define GRACE (2 * USEC_SECOND)

/* `looked`: when this round's look at the clock was, for it may have been after that that we were
 * stopped. */
static void await(struct master *master, usec deadline, usec looked)
{
    loop_wait(&master->loop, deadline);
    usec now = clock_now(), due = deadline > looked ? deadline : looked;
    if (now > due && now - due > LEAP)
        master->runtime.spawner.grace_until = now + GRACE;
}

int main_loop_run(struct master *master)
{
    usec next = 0, now = clock_now();
    while (master->phase != PHASE_ENDED) {
        await(master, next, now);
        /* A death after the signals were taken is pending again, and wakes the next round. Without
         * one nobody is asked: waitpid() looks at each of ten thousand children. */
        if (obey(master))
            master_reap(master);
        obey_words(master);
        now = clock_now();
        next = master_step(master, now);
        next = clock_earlier(next, control_step(&master->control, commands_settled, master, now));
        next = clock_earlier(next, master_announce(master, now));
    }
    return master->exit_status;
}
