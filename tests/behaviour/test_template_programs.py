"""Real programs, unchanged, as forks of a template: each page must equal that of a cold start,
except for its time."""

import os
import re
import shutil
import subprocess
import time

import daemon
import templates

EXAMPLES = '/usr/share/doc/libcgi-pm-perl/examples'
BOUNDARY = 'a-line-between-parts'
UPLOAD = ('--{0}\r\nContent-Disposition: form-data; name="filename"; filename="a.txt"\r\n'
          'Content-Type: text/plain\r\n\r\none two\nthree\r\n'
          '--{0}\r\nContent-Disposition: form-data; name="count"\r\n\r\ncount lines\r\n'
          '--{0}\r\nContent-Disposition: form-data; name="count"\r\n\r\ncount words\r\n'
          '--{0}--\r\n').format(BOUNDARY).encode()
LOG = '''\
192.0.2.1 - - [{0}:00:00:01 +0000] "GET / HTTP/1.1" 200 1234 "http://a.example/" "Firefox/115.0"
192.0.2.1 - - [{0}:00:00:02 +0000] "GET / HTTP/1.1" 200 1234 "http://here/" "Firefox/115.0"
192.0.2.1 - - [{0}:00:00:03 +0000] "GET /a.html HTTP/1.1" 200 99 "http://here/" "Firefox/115.0"
192.0.2.9 - - [{0}:01:00:03 +0000] "GET /none HTTP/1.1" 404 17 "-" "Wget/1.21"
'''
SMOKEPING = '''\
*** General ***
owner = somebody
contact = some@example.org
mailhost = localhost
imgcache = {0}/images
imgurl = images
datadir = {0}/data
piddir = {0}
cgiurl = http://here/smokeping.cgi
smokemail = /etc/smokeping/smokemail
tmail = /etc/smokeping/tmail
*** Database ***
step = 300
pings = 20
AVERAGE 0.5 1 1008
*** Presentation ***
template = /etc/smokeping/basepage.html
+ overview
width = 600
height = 50
range = 10h
+ detail
width = 600
height = 200
unison_tolerance = 2
"Last 3 Hours" 3h
*** Probes ***
+ FPing
binary = /usr/bin/fping
*** Targets ***
probe = FPing
menu = Top
title = Everything
+ Here
menu = Here
title = This machine
host = 127.0.0.1
'''


WHEN = re.compile(rb'\w+ \w+ +\d+ [\d:]+ \d{4}|\w+, \d+[ -]\w+[ -]\d+ [\d:]+ GMT|'
                  rb'\d+ (sec|min)|/tmp/\w{10}\b|start=[\d-]+%20[\d:]+')


class Programs(templates.Case):
    def compare(self, it, name, more=None, body=b'', before=None):
        """Compares the warm and the cold page, and returns it. `before` is called before each
        request."""
        answers = []
        for pool in ('cold', 'warm'):
            if before:
                before()
            answers.append(self.ask(it, name, more, body, pool))
        cold, warm = answers
        # Perl can't be told this one name: preforkd-template(7).
        names = it.path('template-perl').encode(), b'./' + name.encode()
        for stream in ('stdout', 'stderr'):
            self.assertEqual(re.sub(WHEN, b'', getattr(warm, stream).replace(*names)),
                             re.sub(WHEN, b'', getattr(cold, stream)))
        self.assertEqual((warm.status, warm.app_status), (cold.status, cold.app_status))
        return bytes(warm.body)

    def all_forked(self, it, but=0):
        """Checks that only `but` requests ran cold, and that no template failed."""
        self.assertEqual(len(it.log.find('is not run by the template')), but)
        self.assertEqual(it.log.find('the template .* failed'), [])

    def test_examples_of_cgi_pm(self):
        it = self.make_pools(words={'.cgi': 'template-perl CGI CGI::Carp Template'})
        shutil.copytree(EXAMPLES, it.path('cgi'), dirs_exist_ok=True)
        for name in os.listdir(EXAMPLES):
            os.chmod(it.path('cgi/' + name), 0o755)
        it.launch().ready()
        post = {'CONTENT_TYPE': f'multipart/form-data; boundary={BOUNDARY}'}
        form = {'CONTENT_TYPE': 'application/x-www-form-urlencoded'}
        for name, more, body, said in (
                ('wikipedia_example.cgi', None, b'', b'A Simple CGI Page'),
                ('wikipedia_example.cgi', form, b'name=Larry', b'Larry'),
                ('clickable_image.cgi', None, b'', b'wilogo.gif'),
                ('clickable_image.cgi', form, b'magnification=2&letter=A&picture.x=3&picture.y=4',
                 b'4'),
                ('cookie.cgi', None, b'', b'Animal crackers'),
                ('cookie.cgi', {'HTTP_COOKIE': 'animals=unicorn&2', **form},
                 b'new_animals=unicorn&action=Add', b'unicorn'),
                ('crash.cgi', None, b'', b'Software error')):
            with self.subTest(name, body=body):
                self.assertIn(said, self.compare(it, name, more, body))
        self.all_forked(it)
        # Its first line asks for taint checks, so it is started cold, and the log says so.
        page = self.compare(it, 'file_upload.cgi', post, UPLOAD)
        self.assertIn(b'a.txt', page)
        self.all_forked(it, but=1)

    def test_awstats(self):
        it = self.make_pools(words={'.pl': 'template-perl Time::Local Socket'})
        shutil.copy('/usr/lib/cgi-bin/awstats.pl', it.path('cgi'))
        day = time.strftime('%d/%b/%Y', time.gmtime(time.time() - 86400))
        it.put('access.log', LOG.format(day))
        it.put('cgi/awstats.here.conf', 'LogFile="@DIR@/access.log"\nLogType=W\nLogFormat=1\n'
               'SiteDomain="here"\nDNSLookup=0\nDirData="@DIR@/data"\nDirIcons="/icon"\n')
        it.put('data/empty', '')
        subprocess.run([it.path('cgi/awstats.pl'), '-config=here', '-update'], check=True,
                       stdout=subprocess.DEVNULL, env={'PATH': os.environ['PATH']})
        subprocess.run(['chmod', '-R', 'a+rX', it.path('data')], check=True)
        it.launch().ready()
        month = time.strftime('month=%m&year=%Y', time.gmtime(time.time() - 86400))
        for query, said in ((f'config=here&{month}', b'frameset'),
                            (f'config=here&{month}&framename=mainright', b'192.0.2.1'),
                            (f'config=here&{month}&output=urldetail', b'/a.html'),
                            (f'config=here&{month}&output=errors404', b'/none'),
                            ('config=nosuch', b'Error')):
            with self.subTest(query):
                page = self.compare(it, 'awstats.pl', {'QUERY_STRING': query,
                                                       'GATEWAY_INTERFACE': 'CGI/1.1'})
                self.assertIn(said, page)
        self.all_forked(it)

    def test_smokeping(self):
        """The program takes its configuration as an argument, which a web server must not pass: a
        wrapper does, as its manual says."""
        it = self.make_pools(words={'.cgi': 'template-perl CGI::Fast Smokeping'})
        it.put('smoke/config', SMOKEPING.format(it.path('smoke')))
        it.put('cgi/smokeping.cgi', '#!/usr/bin/perl\n@ARGV = ("@DIR@/smoke/config");\n'
               'do "/usr/share/smokeping/smokeping.cgi"; die $@ if $@;\n', 0o755)
        it.put('smoke/data/Here.rrd', '')
        it.put('smoke/images/empty', '')
        subprocess.run(['perl', '-MRRDs', '-e',
                        'RRDs::create($ARGV[0], "--step", 300, "--start", "now-2h", '
                        '(map { "DS:$_:GAUGE:600:0:" . ($_ eq "loss" ? 20 : "U") } '
                        '"uptime", "loss", "median", map { "ping$_" } 1 .. 20), '
                        '"RRA:AVERAGE:0.5:1:1008"); '
                        'die RRDs::error() if RRDs::error()', it.path('smoke/data/Here.rrd')],
                       check=True)
        subprocess.run(['chmod', '-R', 'a+rwX', it.path('smoke')], check=True)
        it.launch().ready()
        images = it.path('smoke/images')

        def forget():
            for name in os.listdir(images):
                os.unlink(os.path.join(images, name))
        for query, said, image in (('', b'Everything', 'Here_mini.png'),
                                   ('target=Here', b'This machine', 'Here_last_10800.png'),
                                   ('target=None', b'does not exist', None)):
            with self.subTest(query):
                page = self.compare(it, 'smokeping.cgi', {'QUERY_STRING': query}, before=forget)
                self.assertIn(said, page)
                self.assertEqual([name for name in os.listdir(images) if name == image],
                                 [image] if image else [])
        self.all_forked(it)

    def test_gitweb(self):
        it = self.make_pools(words={'.cgi': 'template-perl CGI Encode'})
        shutil.copy('/usr/share/gitweb/gitweb.cgi', it.path('cgi'))
        it.put('gitweb.conf', '$projectroot = "@DIR@/git"; $site_name = "here";\n')
        it.put('git/a.git/x', 'x\n')
        # An old commit, whose age is shown in years.
        subprocess.run(['sh', '-ec', 'git init -q; git add x; git -c user.name=a -c user.email=b '
                        f'commit -qm "the first"; chown -R {daemon.USER} . 2>/dev/null || true'],
                       cwd=it.path('git/a.git'), check=True, env=os.environ |
                       {f'GIT_{who}_DATE': '2020-01-01T00:00:00' for who in ('AUTHOR',
                                                                            'COMMITTER')})
        it.launch().ready()
        for query in ('', 'p=a.git/.git;a=summary', 'p=a.git/.git;a=commit;h=HEAD', 'p=none'):
            more = {'GITWEB_CONFIG': it.path('gitweb.conf'), 'QUERY_STRING': query}
            self.assertIn(b'here', self.compare(it, 'gitweb.cgi', more))
        self.all_forked(it)


if __name__ == '__main__':
    daemon.main()
