# A page on port 80, for as many clients as come: net.httpd, over the stack in Python.
from net import httpd

PAGE = httpd.Response("<html><body><h1>Hello from Barewire</h1></body></html>\n", type="text/html")


def app(request):
    if request.method not in ("GET", "HEAD"):
        raise httpd.HttpError(405)
    return PAGE


print("serving on port 80")
httpd.run(app)
