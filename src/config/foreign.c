#include "foreign.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define MANUAL(section) "; see preforkd-handlers(7), " section
#define STREAMS         "every listener is a stream, TCP or Unix"
#define PROGRAM         "write exec { command = { \"/PROGRAM\", \"ARGUMENT\" } }"
#define ADDRESS         "write listen = { \"HOST:PORT\" }"
#define SYSLOG          "the log goes to syslog; see log { } and log_connections"
#define FOLLOWS                                                                                    \
    "write workers for a fixed size, min_workers and max_workers for one that follows the load"

/* The words of xinetd, nginx, PHP-FPM and others. A word that differs from preforkd's by a dash, by
 * capitals or by a few letters needs no row. */
static const struct foreign_word foreign_words[] = {
    {"service", "a service is a pool \"NAME\" { ... } here" MANUAL("FROM XINETD")},
    {"defaults", "each pool says what it needs"},
    {"disable", "leave the pool out of the file, or make it a comment"},
    {"enabled", "leave a pool that is not wanted out of the file"},
    {"socket_type", STREAMS},
    {"protocol", STREAMS},
    {"wait", "exec { } is \"nowait\", app { } is \"wait\""},
    {"type", "the section in the pool says what it does, such as exec { }"},
    {"server", PROGRAM, NEED_HANDLER},
    {"server_args", "the arguments stand behind the program, in command"},
    {"args", "the arguments stand behind the program, in command"},
    {"program", PROGRAM, NEED_HANDLER},
    {"command", PROGRAM, NEED_HANDLER},
    {"handler", "the handler is a section, such as echo {}", NEED_HANDLER},
    {"only_from", "write allow"},
    {"no_access", "write deny"},
    {"instances", FOLLOWS, NEED_SIZE},
    {"per_source", "write max_per_source"},
    {"cps", "see rate_per_source and max_workers"},
    {"bind", ADDRESS, NEED_LISTEN},
    {"interface", ADDRESS, NEED_LISTEN},
    {"address", ADDRESS, NEED_LISTEN},
    {"host", ADDRESS, NEED_LISTEN},
    {"port", ADDRESS, NEED_LISTEN},
    {"socket", "write listen = { \"unix:/PATH\" }", NEED_LISTEN},
    {"includedir", "write include(\"DIRECTORY/*\")"},
    {"log_type", SYSLOG},
    {"log_on_success", "write log_connections = true"},
    {"log_on_failure", "refused connections are logged at level info"},
    {"worker_processes", "each pool has its own workers"},
    {"processes", "write workers"},
    {"worker_connections", "see workers"},
    {"worker_rlimit_nofile", "write limits { nofile = N }"},
    {"keepalive_timeout", "write idle_timeout for a silent client, keepalive for TCP"},
    {"timeout", "write request_timeout for a request, idle_timeout for a silent client"},
    {"error_log", SYSLOG},
    {"access_log", SYSLOG},
    {"logfile", SYSLOG},
    {"log_file", SYSLOG},
    {"file", SYSLOG},
    {"log_level", "write log { level = \"info\" }"},
    {"loglevel", "write log { level = \"info\" }"},
    {"syslog", SYSLOG},
    {"pid", "the command line names it: preforkd -p FILE"},
    {"pidfile", "the command line names it: preforkd -p FILE"},
    {"pid_file", "the command line names it: preforkd -p FILE"},
    {"daemon", "the command line says so: preforkd -d"},
    {"daemonize", "the command line says so: preforkd -d"},
    {"events", "each pool has its own workers"},
    {"pm", FOLLOWS MANUAL("From php-fpm"), NEED_SIZE},
    {"pm.max_children", "write max_workers", NEED_SIZE},
    {"max_children", "write max_workers", NEED_SIZE},
    {"max_clients", "write max_workers", NEED_SIZE},
    {"max_request_workers", "write max_workers", NEED_SIZE},
    {"pm.start_servers", "write min_workers"},
    {"start_servers", "write min_workers"},
    {"pm.min_spare_servers", "write min_spare"},
    {"min_spare_servers", "write min_spare"},
    {"pm.max_spare_servers", "write max_spare"},
    {"max_spare_servers", "write max_spare"},
    {"pm.process_idle_timeout", "write spare_timeout"},
    {"process_idle_timeout", "write spare_timeout"},
    {"pm.max_requests", "write max_requests"},
    {"request_terminate_timeout", "write request_timeout"},
    {"request_slowlog_timeout", "write slow_threshold"},
    {"process_control_timeout", "write graceful_timeout"},
    {"listen.owner", "write socket_user"},
    {"listen.group", "write socket_group"},
    {"listen.mode", "write socket_mode"},
    {"listen.backlog", "write backlog"},
    {"listen.allowed_clients", "write allow"},
    {"listen_owner", "write socket_user"},
    {"listen_group", "write socket_group"},
    {"listen_mode", "write socket_mode"},
    {"chdir", "write directory"},
    {"cwd", "write directory"},
    {"env", "write environment = { \"NAME=VALUE\" }"},
    {"rlimit_files", "write limits { nofile = N }"},
    {"rlimit_core", "write limits { core = N }"},
    {"open_files", "write nofile"},
    {"memory", "write as, the size of the address space"},
    {"tls", "HAProxy or stunnel before it does that, with proxy_protocol = \"on\""},
    {"ssl", "HAProxy or stunnel before it does that, with proxy_protocol = \"on\""},
};

/* Whether the words are the same without capitals, dashes and underscores, as in Apache's
 * StartServers. */
static bool is_same(const char *a, const char *b)
{
    for (;; a++, b++) {
        a += strspn(a, "_-");
        b += strspn(b, "_-");
        if (!*a || tolower((unsigned char)*a) != tolower((unsigned char)*b))
            return *a == *b;
    }
}

const struct foreign_word *foreign_find(const char *word)
{
    for (size_t i = 0; i < sizeof foreign_words / sizeof *foreign_words; i++)
        if (is_same(foreign_words[i].word, word))
            return &foreign_words[i];
    return NULL;
}

/* What the file is that has a section such as [global]. */
static const char *explain_ini(const char *name)
{
    static const struct {
        const char *section, *text;
    } rows[] = {
#define POOL "a pool is written pool \"NAME\" { ... }"
        {"[Unit]", ": this is a unit of systemd; " POOL MANUAL("FROM ACCEPT=YES")},
        {"[Socket]", ": this is a unit of systemd; " POOL MANUAL("FROM ACCEPT=YES")},
        {"[Service]", ": this is a unit of systemd; " POOL MANUAL("FROM ACCEPT=YES")},
        {"[fcgi-program:",
         ": this is an ini file of supervisord; " POOL MANUAL("From supervisord's fcgi-program")},
        {"[program:",
         ": this is an ini file of supervisord; " POOL MANUAL("From supervisord's fcgi-program")},
        {"[", ": this is an ini file, as of php-fpm; " POOL MANUAL("From php-fpm")},
    };
    size_t i = 0;
    while (strncmp(name, rows[i].section, strlen(rows[i].section)) != 0)
        i++;
    return rows[i].text;
}

const char *foreign_explain(const char *name, const char *behind)
{
    static char text[200];
    const struct foreign_word *foreign = foreign_find(name);
    size_t length = strlen(name);
    if (name[0] == '[')
        return explain_ini(name);
    if (name[0] == '<')
        return ": this is a section of Apache, or XML; a section is written NAME { ... }";
    if (behind && (strcmp(behind, "stream") == 0 || strcmp(behind, "dgram") == 0))
        return ": this is a line of inetd.conf" MANUAL("FROM INETD");
    if (name[0] == ';')
        return ": a comment begins with # or //, and no semicolon is needed";
    if (length && name[length - 1] == ':')
        return ": an option is written NAME = VALUE";
    snprintf(text, sizeof text, "%s%s", foreign ? ": " : "", foreign ? foreign->advice : "");
    return text;
}
