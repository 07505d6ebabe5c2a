"""A server under load: replaced versions, too many calls, disconnected clients, shutdown, and TLS."""

import asyncio
import datetime
import ipaddress
import shutil
import threading
import time

import grpc
import nibabel
import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tensorflow_serving.apis import get_model_status_pb2, model_service_pb2_grpc, prediction_service_pb2_grpc

from semicml_tf import commandline
from semicml_tf.errors import UserError
from semicml_tf.serving.server.admission import Admission
from semicml_tf.serving.server.handlers import Refused
from tests.support import threshold_model
from tests.support.serving_process import UNLIMITED, WINDOW, request, serving_here

MANY = np.zeros((300, WINDOW, WINDOW, 1), np.float32)


@pytest.fixture(scope="module")
def published(unet_models):
    return unet_models / "ct" / "1"


@pytest.fixture
def models(tmp_path, published):
    shutil.copytree(published, tmp_path / "models" / "ct" / "1")
    return tmp_path / "models"


@pytest.fixture(scope="module")
def narrow(unet_models):
    """A channel to a server that works on one call and lets two wait."""
    with serving_here(unet_models, workers=1, waiting=2) as address:
        with grpc.insecure_channel(address, options=UNLIMITED) as channel:
            yield channel


def stub(channel):
    return prediction_service_pb2_grpc.PredictionServiceStub(channel)


def health_of(channel, service=""):
    return health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=service)).status


def test_versions_are_replaced_without_a_failed_call(models, published):
    with serving_here(models, file_system_poll_wait_seconds=0.1) as address:
        with grpc.insecure_channel(address) as channel:
            is_over, seen, failed = threading.Event(), [], []

            def call_on_and_on():
                while not is_over.is_set():
                    try:
                        seen.append(stub(channel).Predict(request()).model_spec.version.value)
                    except grpc.RpcError as error:
                        failed.append(error)

            callers = [threading.Thread(target=call_on_and_on) for _ in range(3)]
            for caller in callers:
                caller.start()
            for number in (2, 3):
                shutil.copytree(published, models / "ct" / ".copying")
                (models / "ct" / ".copying").rename(models / "ct" / str(number))
                end = time.monotonic() + 60
                while seen[-1:] != [number] and time.monotonic() < end:
                    time.sleep(0.05)
            shutil.rmtree(models / "ct" / "3")
            end = time.monotonic() + 60
            while seen[-1] != 2 and time.monotonic() < end:
                time.sleep(0.05)
            is_over.set()
            for caller in callers:
                caller.join()
            assert not failed
            order = [number for number, before in zip(seen, [None, *seen]) if number != before]
            assert order[0] == 1 and order[-1] == 2 and 3 in order
            status = get_model_status_pb2.GetModelStatusRequest()
            status.model_spec.name = "ct"
            states = model_service_pb2_grpc.ModelServiceStub(channel).GetModelStatus(status).model_version_status
            end, available = get_model_status_pb2.ModelVersionStatus.END, 30
            assert [(one.version, one.state) for one in states] == [(3, end), (2, available), (1, end)]


def test_the_number_of_accepted_calls_is_limited():
    release, begun = threading.Event(), threading.Semaphore(0)

    def work(number):
        begun.release()
        release.wait(60)
        return number

    async def calls():
        admission = Admission(workers=2, waiting=3)
        tasks = [asyncio.create_task(admission.run(work, number)) for number in range(5)]
        await asyncio.sleep(0)
        with pytest.raises(Refused, match="RESOURCE_EXHAUSTED: 5 calls"):
            await admission.run(work, 5)
        for _ in range(2):
            assert await asyncio.to_thread(begun.acquire, timeout=60)
        # A caller that leaves while its call waits makes room at once; one whose call has begun does not.
        tasks[4].cancel()
        await asyncio.sleep(0.05)
        tasks[4] = asyncio.create_task(admission.run(work, 6))
        tasks[0].cancel()
        await asyncio.sleep(0.05)
        with pytest.raises(Refused):
            await admission.run(work, 7)
        release.set()
        found = await asyncio.gather(*tasks, return_exceptions=True)
        assert isinstance(found[0], asyncio.CancelledError) and found[1:] == [1, 2, 3, 6]
        assert await admission.run(work, 8) == 8
        assert (admission.accepted, admission.answered, admission.refused) == (7, 5, 2)
        await admission.shut(60)
        with pytest.raises(Refused, match="UNAVAILABLE"):
            await admission.run(work, 9)
        await admission.close()

    asyncio.run(calls())


def test_under_overload_calls_and_health_checks_are_answered(narrow):
    calls = [stub(narrow).Predict.future(request(MANY), timeout=120) for _ in range(40)]
    assert health_of(narrow) == health_of(narrow, "tensorflow.serving.PredictionService") == 1
    codes = [call.code() for call in calls]
    assert set(codes) == {grpc.StatusCode.OK, grpc.StatusCode.RESOURCE_EXHAUSTED}
    assert codes.count(grpc.StatusCode.OK) >= 3
    assert stub(narrow).Predict(request()).outputs, "the server must live on"


def test_clients_that_disconnect_do_not_block_the_server(narrow):
    for _ in range(3):
        gone = [stub(narrow).Predict.future(request(MANY)) for _ in range(3)]
        time.sleep(0.05)
        for call in gone:
            call.cancel()
    end = time.monotonic() + 60
    while True:
        try:
            assert stub(narrow).Predict(request()).outputs
            break
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED and time.monotonic() < end
            time.sleep(0.1)


def test_malformed_messages_are_refused(narrow):
    for service, name in (("PredictionService", "Predict"), ("ModelService", "GetModelStatus")):
        call = narrow.unary_unary(f"/tensorflow.serving.{service}/{name}")
        for data in (b"\xff\xff\xff\xff", request().SerializeToString()[:-3], b""):
            with pytest.raises(grpc.RpcError) as caught:
                call(data)
            assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert np.isnan(_values(stub(narrow).Predict(request(np.full_like(MANY[:1], np.nan))))).any()
    assert health_of(narrow) == 1


def _values(response):
    return np.frombuffer(response.outputs["probabilities"].tensor_content, np.float32)


def certificate(folder, name, issuer=None):
    """Writes NAME.pem and NAME.key; signed by `issuer`, or by itself where that is None."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.timezone.utc)
    signed = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer[0].subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), True)
        .sign(issuer[1] if issuer else key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / f"{name}.pem").write_bytes(signed.public_bytes(pem))
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / f"{name}.key").write_bytes(private)
    return signed, key


def test_mutual_tls(unet_models, tmp_path):
    authority = certificate(tmp_path, "authority")
    for name in ("server", "client"):
        certificate(tmp_path, name, authority)
    certificate(tmp_path, "stranger")

    def read(name):
        return (tmp_path / name).read_bytes()

    pair = {"tls_certificate": tmp_path / "server.pem", "tls_key": tmp_path / "server.key"}
    with serving_here(unet_models, **pair, tls_client_ca=tmp_path / "authority.pem") as address:

        def call(credentials):
            channel = grpc.secure_channel(address, credentials) if credentials else grpc.insecure_channel(address)
            with channel:
                return stub(channel).Predict(request(), timeout=20).outputs

        root = read("authority.pem")
        assert call(grpc.ssl_channel_credentials(root, read("client.key"), read("client.pem")))
        for wrong in (
            None,
            grpc.ssl_channel_credentials(root),
            grpc.ssl_channel_credentials(root, read("stranger.key"), read("stranger.pem")),
            grpc.ssl_channel_credentials(read("stranger.pem"), read("client.key"), read("client.pem")),
        ):
            with pytest.raises(grpc.RpcError) as caught:
                call(wrong)
            assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
        nibabel.save(nibabel.Nifti1Image(threshold_model.volume("ct"), np.eye(4)), tmp_path / "in.nii.gz")
        shared = [f"--address={address}", "--model=ct", f"--manifest={unet_models / 'ct' / '1'}", "--retries=0"]
        shared += [f"--input={tmp_path / 'in.nii.gz'}", f"--tls_ca={tmp_path / 'authority.pem'}"]
        mine = [f"--tls_client_certificate={tmp_path / 'client.pem'}", f"--tls_client_key={tmp_path / 'client.key'}"]
        commandline.call("semicml_tf.serving.client", [*shared, *mine, f"--output={tmp_path / 'mask.nii.gz'}"])
        assert (tmp_path / "mask.nii.gz").exists()
        with pytest.raises(UserError, match="cannot be reached"):
            commandline.call("semicml_tf.serving.client", [*shared, f"--output={tmp_path / 'other.nii.gz'}"])
        with pytest.raises(UserError, match="both or neither"):
            commandline.call("semicml_tf.serving.client", [*shared, mine[0], f"--output={tmp_path / 'other.nii.gz'}"])


def test_tls_needs_trust_in_the_server_certificate(unet_models, tmp_path):
    certificate(tmp_path, "server", certificate(tmp_path, "authority"))
    certificate(tmp_path, "stranger")
    pair = {"tls_certificate": tmp_path / "server.pem", "tls_key": tmp_path / "server.key"}
    with serving_here(unet_models, **pair) as address:

        def call(root):
            with grpc.secure_channel(address, grpc.ssl_channel_credentials(root)) as channel:
                return stub(channel).Predict(request(), timeout=20).outputs

        assert call((tmp_path / "authority.pem").read_bytes())
        with pytest.raises(grpc.RpcError) as caught:
            call((tmp_path / "stranger.pem").read_bytes())
        assert caught.value.code() == grpc.StatusCode.UNAVAILABLE


def test_an_incomplete_pair_of_key_and_certificate_is_reported_in_one_line(models, tmp_path):
    (tmp_path / "key").write_text("none")
    for told, message in (
        (["--tls_key=key"], "expected both"),
        ([f"--tls_key={tmp_path / 'key'}", "--tls_certificate=nowhere"], "nowhere: expected a certificate in PEM form"),
    ):
        with pytest.raises(UserError, match=message):
            commandline.call("semicml_tf.serving.server", [f"--models={models}", *told])
