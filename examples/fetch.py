# A page by HTTP: resolve, connect, ask, print.
import net

URL = "http://example.test/"

response = net.http.get(URL)
print(response.status_code, response.headers.get("Content-Type"))
print(response.text)
