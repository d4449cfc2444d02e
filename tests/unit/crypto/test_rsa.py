"""RSA signatures made by OpenSSL, and what has to be refused."""

from stack.crypto.rsa import RsaKey, sign_pss, verify_pkcs1, verify_pss
from stack.crypto.sha2 import Sha256, Sha384

_h = bytes.fromhex
_P = int.from_bytes(_h(
    "fc3f984696ced1c2a5ff03cba24f908f985f4e5ea4548b22a9ec6aa5d331092167e949e1893ac09c5a8fa0a5"
    "5be889204344d353b61217e60339288027d9bea5dfef36343fc0fc31fb0a2df2b381142de6133cee6bd017a1"
    "2bdadea82abc9555f00e0bd8bbe7eb313591383f05f109559254875dba6c9e862b7c0b85c23d4961"
), "big")  # fmt: skip
_Q = int.from_bytes(_h(
    "b607a2ef0e08325070baa1fb71a40a8233de8f548832fe8b9190dc7155b43034d30f73b733facf09a4d23964"
    "e996b99021dad973e4364eb5ef67ce6199edb6cc87574426cec5bd191a8ce14b374fc853ad060fee89035f00"
    "78f67d8083dc4a344cfb746e080c0939d1f1fab9069fe8bd361708c361d12a23547a4c55894196d3"
), "big")  # fmt: skip
_D = int.from_bytes(_h(
    "08fc7ef7cbb57e0446cda1a739ed4856385e4a00320e83f6ce3a422ad4214ed2a748652d2cd657753d7dbaf8"
    "9a3638ae31c1670bacbb696fe16ac28d73b66f510cbb5713926c627a8115403178236a2bd322564bddd45b67"
    "633ebda834692b427bbfce06eb6ce62bd361037b07a7f7d1eb50c70377d6960aeb50b00a409a11791145df1c"
    "f0f56500894b09907a050679c9b38b4aa99042538cc1e69ff9a2a619763a45f90ea94156813e0135ddaedfa7"
    "c43bf84902d3958caaabc2fa1998723013ac8b897ecb3a9656f742bf55909f097fec763a16eedccca7c15234"
    "f34e237aa606ca077b456ac01fe16989cb455cc0bfe3c510d246559f5affcc1f768326a1"
), "big")  # fmt: skip
_N = _P * _Q
_E = 65537
_MSG = b"barewire"

_PKCS1_SHA256 = _h(
    "917613b2805d0eecfdcf6526ce6b249e64151b363f66d3c9bfce298467abf5f5bf6e802db7bbcef02603c0fc"
    "dc0676953210e0f47ed2c8ce6f0446c37220007c997885fb9f31d8e5fe305a157c12ca1e7ac7e58084e9de00"
    "5bd968643b6f9074784a9acd9487e3960a960c382bf024c929defbaff48e4a7d583458a2d066db456e526845"
    "cff4cb6273a5ef1a7820ae6802605e285d8dfc901011f2c6dcf0ad5f1c97d677340132f37f2fb4c8068048fe"
    "acf99a98fd20e0725a3ba0a95b90b027c8443bdd3d599f16522fb7d882cb339e39238edda012660b8ee61d4d"
    "5f0c10de42d910fb581a472329ae7c2fe9bbb7e7667c0b8044052be038a33a3b0116d4a4"
)
_PKCS1_SHA384 = _h(
    "730576270c733b2243dc9229a96e8c65eef6e7e5f87d340d247494c72dcb1f8726875308672c5c4b4ac2d6a4"
    "76b4bdada1395c745f241e77aff3f6338bada3bd84afb215b8fc1151b67115c34b3a4a15012b35b72cd37b42"
    "21aaec266586a1f4246b7be37559f578d633c73611e35b2a66b24b480df435874e2304c730af0802169265f0"
    "bccd4028189a95555d6db7445ef09a220f80588035fa12fb7990d0e708d53d741210f1d88d0958643c7344a6"
    "5dffa11a24dd992edc831cd444c611459d9a5f96062233d3979df6cc21417cd3ce373e0dbf23e1c9d20fe7ba"
    "145c8fe3e7796ccea7d58dd23e3bf4e2cbb07011458c7f4ee75e71af8ebe4ea6430db317"
)
_PSS_SHA256 = _h(
    "acf8ead013065a96dd4867bdefd3e4ac7f9e91cbea9ba5180bd3ce621d3cb45f7d30c9fef522f18c973e151b"
    "8096b71fe43d780fffcbe05717b6cca5d1a9fc5e7e6923c01fa9b204823d7e0f34d232413cefe528543a0128"
    "4991efe33073b9f46108c518d687471a4dab60c2c4a9111ee0fe34e8b8dc01d6d4fd3729e60065e598c7bd25"
    "0eaaf82b3f0916060d36ed8edfade68aeee986d27b255883360064ffba8dcef29a9f9b7943cb57fb035a2626"
    "71bd06a271a8909a153ccf188c33b1472c5fdca963da47c5d4bf6e01184a0d8a1d60fbb6ca830fb5f184f588"
    "77b4986153bd34a67f880d89583e7398b94bc8b59972108abb64ac7856bc0b98811fd3a0"
)
_D256 = Sha256(_MSG).digest()


def test_pkcs1():
    assert verify_pkcs1(_N, _E, "sha256", _D256, _PKCS1_SHA256)
    assert verify_pkcs1(_N, _E, "sha384", Sha384(_MSG).digest(), _PKCS1_SHA384)
    assert not verify_pkcs1(_N, _E, "sha256", Sha256(b"x").digest(), _PKCS1_SHA256)
    assert not verify_pkcs1(_N, _E, "sha384", Sha384(_MSG).digest(), _PKCS1_SHA256)
    assert not verify_pkcs1(_N, _E, "md5", _D256, _PKCS1_SHA256)
    assert not verify_pkcs1(_N, _E, "sha256", _D256, _PSS_SHA256)


def test_pss():
    assert verify_pss(_N, _E, Sha256, _D256, _PSS_SHA256, 32)
    assert not verify_pss(_N, _E, Sha256, _D256, _PSS_SHA256, 20)
    assert not verify_pss(_N, _E, Sha256, Sha256(b"x").digest(), _PSS_SHA256, 32)
    assert not verify_pss(_N, _E, Sha256, _D256, _PKCS1_SHA256, 32)


def test_refuses():
    sig = _PSS_SHA256
    for why, bad in (
        ("short", sig[1:]),
        ("long", b"\x00" + sig),
        ("empty", b""),
        ("not below n", b"\xff" * 256),
        ("n + s", ((int.from_bytes(sig, "big") + _N) % (1 << 2048)).to_bytes(256, "big")),
        ("flipped", sig[:9] + bytes((sig[9] ^ 1,)) + sig[10:]),
        ("zero", bytes(256)),
        ("one", bytes(255) + b"\x01"),
    ):
        assert not verify_pss(_N, _E, Sha256, _D256, bad, 32), why
        assert not verify_pkcs1(_N, _E, "sha256", _D256, bad), why
    for e in (0, 1, 2, 65536, -3, 1 << 40):
        assert not verify_pss(_N, e, Sha256, _D256, sig, 32), e
    # Too small and too large moduli.
    assert not verify_pkcs1(_P, _E, "sha256", _D256, bytes(128))
    assert not verify_pkcs1((1 << 4100) + 1, _E, "sha256", _D256, bytes(513))


def test_sign():
    key = RsaKey(_N, _E, _D, _P, _Q)
    count = [0]

    def rng(n):
        count[0] += 1
        return bytes([count[0] + i & 255 for i in range(n)])

    sig = sign_pss(key, Sha256, _D256, rng)
    assert len(sig) == 256
    assert verify_pss(_N, _E, Sha256, _D256, sig, 32)
    # The second one is blinded by the squares of the first one's factors.
    again = sign_pss(key, Sha256, _D256, rng)
    assert sig != again
    assert verify_pss(_N, _E, Sha256, _D256, again, 32)


def test_key_consistency():
    for args in ((_N + 2, _E, _D, _P, _Q), (_N, 1, _D, _P, _Q), (_P, _E, _D, _P, 1)):
        try:
            RsaKey(*args)
        except ValueError:
            continue
        raise AssertionError("accepted")


def test_fault_is_caught():
    # With one wrong half the signature would reveal a factor: nothing may come out.
    key = RsaKey(_N, _E, _D, _P, _Q)
    key.dp ^= 2
    try:
        sign_pss(key, Sha256, _D256, lambda n: b"\x05" * n)
    except ValueError:
        return
    raise AssertionError("a faulty signature came out")
