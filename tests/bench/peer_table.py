"""The servers that `peers` measures: how each is started, reloaded and replaced, one row per
server.

Texts are templates: $dir is the server's own directory, $at its address (a port of 127.0.0.1, or a
path), $workers their number. A kind of work is a list of servers that do the same for the same
load.
"""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Peer:
    name: str
    command: str  # its words
    files: dict = field(default_factory=dict)  # {name in $dir: text}
    package: str = ""  # Debian's
    reload: str = ""  # the signal that loads a new configuration; "": none
    upgrade: str = ""  # the signal that replaces the binary; "": stop and start
    hand_over: str = ""  # the signal that ends the old master after `upgrade`, if it stays
    stop: str = "TERM"
    workers: bool = True  # its children serve, and can be killed
    reaps: bool = True  # its programs, so their CPU time is known
    behind: str = ""  # a second command: a server in front of it, or behind it on port $other
    behind_counts: bool = True  # whether the second command's CPU and memory count too
    detaches: bool = False  # it always detaches, and writes its pid to $dir/pid
    modules: tuple = ()  # files that it needs besides its program


@dataclass(frozen=True)
class Kind:
    name: str
    what: str
    load: str  # "listen": the server sends five bytes; "echo"; or the name of a request
    peers: tuple
    unix: bool = False
    workers: int = 8


PREFORKD = """control = "none"
log { level = "notice" }
graceful_timeout = 60
pool "x" { listen = { "%s" } workers = $workers
    environment = { "ROUND=$round" }
    %s }
"""


def preforkd(handler, listen="$listen", front="", **more):
    files = {"conf": PREFORKD % (listen, handler), "front": front}
    return Peer("preforkd", "$preforkd -e -c $dir/conf", files, reload="HUP", upgrade="USR2",
                **more)


NGINX_FRONT = """daemon off; master_process off; pid $dir/front.pid; error_log stderr;
events {}
http { access_log off;
    client_body_temp_path $dir/t1; proxy_temp_path $dir/t2; fastcgi_temp_path $dir/t3;
    uwsgi_temp_path $dir/t4; scgi_temp_path $dir/t5;
    server { listen 127.0.0.1:$at backlog=4096; location / {
        include /etc/nginx/fastcgi_params;
        fastcgi_param SCRIPT_FILENAME $scratch/hello;
        fastcgi_pass unix:$dir/fcgi; } } }
"""
NGINX_STREAM = """load_module /usr/lib/nginx/modules/ngx_stream_module.so;
daemon on; worker_processes $workers; pid $dir/pid; error_log stderr;
events { worker_connections 1024; }
stream { server { listen 127.0.0.1:$at backlog=4096; %s; } }
"""
STREAM_MODULE = ("/usr/lib/nginx/modules/ngx_stream_module.so",)


def nginx(what, **more):
    return Peer("nginx stream", "nginx -e stderr -c $dir/conf", {"conf": NGINX_STREAM % what},
                "libnginx-mod-stream", reload="HUP", upgrade="USR2", hand_over="QUIT",
                detaches=True, modules=STREAM_MODULE, **more)


XINETD = """defaults
{
    instances = UNLIMITED
    cps = 100000 1
    per_source = UNLIMITED
    log_type = FILE /dev/null
}
service word
{
    type = UNLISTED
    socket_type = stream
    protocol = tcp
    bind = 127.0.0.1
    port = $at
    wait = no
    user = $user
    server = $scratch/word
}
"""
APACHE = """ServerRoot "$dir"
ServerName localhost
PidFile "$dir/pid"
ErrorLog "$dir/errors"
Listen 127.0.0.1:$at
ListenBacklog 4096
LoadModule mpm_prefork_module /usr/lib/apache2/modules/mod_mpm_prefork.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule cgi_module /usr/lib/apache2/modules/mod_cgi.so
LoadModule alias_module /usr/lib/apache2/modules/mod_alias.so
ScriptAlias / "$scratch/"
StartServers $workers
MinSpareServers $workers
MaxSpareServers $workers
ServerLimit $workers
MaxRequestWorkers $workers
GracefulShutdownTimeout 10
"""
PHP_FPM = """[global]
daemonize = no
error_log = $dir/errors
process_control_timeout = 10s
[x]
listen = $at
listen.backlog = 4096
pm = static
pm.max_children = $workers
"""
HAPROXY = """global
    maxconn 4000
    nbthread 2
defaults
    mode tcp
    timeout connect 5s
    timeout client 60s
    timeout server 60s
frontend x
    bind 127.0.0.1:$at backlog 4096
    default_backend y
backend y
    server s 127.0.0.1:$other
"""
BACKEND = "$pong epoll $listener"

KINDS = (
    Kind("program", "a program a connection", "listen", (
        preforkd('exec { command = { "$scratch/word" } }'),
        Peer("xinetd", "xinetd -dontfork -f $dir/conf", {"conf": XINETD}, "xinetd", reload="HUP",
             workers=False),
        Peer("tcpserver", "tcpserver -HRl0 -c 1000 -b 4096 127.0.0.1 $at $scratch/word",
             package="ucspi-tcp", workers=False),
        Peer("socat", "socat TCP4-LISTEN:$at,bind=127.0.0.1,fork,reuseaddr,backlog=4096 "
             "EXEC:$scratch/word,nofork", package="socat", workers=False),
        Peer("s6-tcpserver", "s6-tcpserver -c 1000 -C 1000 127.0.0.1 $at $scratch/word",
             package="", workers=False))),
    Kind("cgi", "CGI, asked by FastCGI", "fcgi", (
        preforkd('cgi { root = "$scratch" }'),
        Peer("fcgiwrap", "fcgiwrap -c $workers -s unix:$at", package="fcgiwrap",
             reaps=False)), unix=True),
    Kind("web", "CGI, asked by HTTP", "http", (
        preforkd('cgi { root = "$scratch" }', listen="unix:$dir/fcgi",
                 behind="nginx -e stderr -c $dir/front", front=NGINX_FRONT),
        Peer("Apache prefork, mod_cgi", "apache2 -DFOREGROUND -f $dir/conf", {"conf": APACHE},
             "apache2-bin", reload="USR1", stop="WINCH",
             modules=("/usr/lib/apache2/modules/mod_cgi.so",)))),
    Kind("php", "PHP by FastCGI", "php", (
        preforkd('app { command = { "/usr/bin/php-cgi", "-n" } } min_ready_time = 0',
                 modules=("/usr/bin/php-cgi",)),
        Peer("php-fpm", "php-fpm8.2 -n -F -y $dir/conf", {"conf": PHP_FPM}, "php-fpm",
             reload="USR2", upgrade="USR2", stop="QUIT")), unix=True),
    Kind("uwsgi", "WSGI by uWSGI's worker", "http", (
        preforkd('app { command = { "/usr/bin/uwsgi-core", "--plugin", "python3", "--protocol",'
                 ' "http", "--wsgi-file", "$scratch/wsgi.py", "--disable-logging",'
                 ' "--need-app" } stop_signal = "HUP" } min_ready_time = 0',
                 modules=("/usr/bin/uwsgi-core",)),
        Peer("uWSGI", "uwsgi-core --plugin python3 --http-socket 127.0.0.1:$at --listen 1000 "
             "--wsgi-file $scratch/wsgi.py --master --processes $workers --disable-logging "
             "--need-app", package="uwsgi-plugin-python3", reload="HUP", upgrade="HUP",
             stop="INT"))),
    Kind("gunicorn", "WSGI in Python", "http", (
        preforkd('app { command = { "/usr/bin/python3", "$scratch/wsgi.py" } ready = "notify" }'
                 ' min_ready_time = 0'),
        Peer("gunicorn", "gunicorn -b 127.0.0.1:$at --backlog 4096 -w $workers -p $dir/pid "
             "--chdir $scratch --log-level error wsgi:application", package="gunicorn",
             reload="HUP", upgrade="USR2", hand_over="TERM"))),
    Kind("greet", "a word from an event loop", "listen", (
        preforkd('module { path = "$scratch/greet.so" } model = "event" connections = 1000'),
        nginx("return hello")), workers=2),
    Kind("echo", "an echo by an event loop", "echo", (
        preforkd('echo {} model = "event" connections = 1000'),
        Peer("HAProxy, in front of an echo", "haproxy -W -db -f $dir/conf", {"conf": HAPROXY},
             "haproxy", reload="USR2", upgrade="USR2", stop="USR1", behind=BACKEND,
             behind_counts=False),
        nginx("proxy_pass 127.0.0.1:$other", behind=BACKEND, behind_counts=False)), workers=2),
)
